//! Keys of the process: the configured ones or, without any, the data folder's development key.

use std::path::PathBuf;

use fabric::entropy::OsEntropy;
use gateway::auth::dev_key::DevKey;
use gateway::auth::revoked::{Revoked, RevokedError};
use gateway::auth::{KeyConfig, KeyError, KeyKind, Keys, MintError, Minter, Requirements, Trust, Trusted};

use crate::config::Config;

/// Why there is no key to verify or sign with.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AuthSetupError {
    /// A key's file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The list of revocations.
    #[error(transparent)]
    Revoked(#[from] RevokedError),
    /// A key that cannot sign.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// Only public keys are configured.
    #[error("only public keys are configured: they verify tokens but cannot make them")]
    #[diagnostic(help("make tokens where the private key is, or set auth.hs256_secret_file"))]
    CannotSign,
}

/// Whom a server with this configuration trusts, but for what its data folder says is revoked. Blocks.
///
/// # Errors
/// [`AuthSetupError`] names the file that cannot be used.
pub fn trust(config: &Config) -> Result<Trust, AuthSetupError> {
    Ok(Trust::new(trusted(config)?, Revoked::open(&config.server.data)?))
}

/// The keys that verify tokens: the configured ones, else the development key (made if there is none). Blocks.
///
/// # Errors
/// [`AuthSetupError`] names the file that cannot be used.
pub fn trusted(config: &Config) -> Result<Trusted, AuthSetupError> {
    let auth = &config.auth;
    let requirements = Requirements { audiences: auth.audiences.clone(), issuers: auth.issuers.clone() };
    if auth.has_keys() {
        let mut keys = Keys::from_files(&configured(config))?;
        if let Some(file) = &auth.jwks_file {
            keys.add_jwks_file(file)?;
        }
        keys.require(requirements);
        return Ok(Trusted { keys, development: false });
    }
    let mut keys = Keys::new();
    keys.require(requirements);
    let key = DevKey::open_or_create(&config.server.data, &mut OsEntropy)?;
    keys.add(KeyKind::Hs256, None, key.secret())?;
    Ok(Trusted { keys, development: true })
}

/// What signs tokens: the configured HS256 secret or, without any key, the development key (made if there is none). Its
/// tokens name the first configured audience and issuer. Blocks.
///
/// # Errors
/// [`AuthSetupError`]; `CannotSign` when only public keys are configured.
pub fn minter(config: &Config) -> Result<Minter, AuthSetupError> {
    let auth = &config.auth;
    let minter = if auth.has_keys() {
        let secret = configured(config).into_iter().find(|key| key.kind == KeyKind::Hs256);
        Minter::from_file(&secret.ok_or(AuthSetupError::CannotSign)?)?
    } else {
        let key = DevKey::open_or_create(&config.server.data, &mut OsEntropy)?;
        Minter::hs256(key.secret(), None)?
    };
    Ok(minter.naming(auth.audiences.first().cloned(), auth.issuers.first().cloned()))
}

fn configured(config: &Config) -> Vec<KeyConfig> {
    let key = |kind, file: &Option<PathBuf>| file.clone().map(|file| KeyConfig { kind, file, id: None });
    let auth = &config.auth;
    let keys = [
        key(KeyKind::Hs256, &auth.hs256_secret_file),
        key(KeyKind::EdDsa, &auth.eddsa_public_key_file),
        key(KeyKind::Es256, &auth.es256_public_key_file),
        key(KeyKind::Rs256, &auth.rs256_public_key_file),
    ];
    keys.into_iter().flatten().collect()
}
