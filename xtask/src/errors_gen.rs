//! Makes Rust, TypeScript and Markdown of the error table, `schema/errors.toml`.

use std::fmt::Write as _;
use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde::Deserialize;

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    error: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    code: u16,
    fault: String,
    retry: String,
    scope: String,
    http: u16,
    close: u16,
    #[serde(default)]
    retry_after_ms: u32,
    text: String,
}

/// Reads and checks the table: codes are 1, 2, 3… so that a code is its row's place.
///
/// # Errors
/// When the file cannot be read, has unknown keys, or its codes have holes.
pub fn read(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).into_diagnostic().wrap_err("cannot read schema/errors.toml")?;
    let table: Table = toml::from_str(&text).into_diagnostic().wrap_err("schema/errors.toml is not valid")?;
    for (row, code) in table.error.iter().zip(1..) {
        if row.code != code {
            return Err(miette!("schema/errors.toml: `{}` has code {}, its place says {code}", row.name, row.code));
        }
    }
    Ok(table)
}

/// The enum and the rows.
pub fn rust(table: &Table) -> String {
    let mut out = String::from(
        "// @generated from schema/errors.toml by `cargo xtask schema`; do not edit.\n\n\
         use crate::errors::{ErrorInfo, Fault, Retry, Scope};\n\n\
         /// A stable error code (schema/errors.toml).\n\
         #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]\n#[repr(u16)]\npub enum ErrorCode {\n",
    );
    for row in &table.error {
        let _ = writeln!(out, "    /// {}\n    {} = {},", row.text, camel(&row.name), row.code);
    }
    out.push_str("}\n\n/// Every row, in the order of the table.\npub const TABLE: &[ErrorInfo] = &[\n");
    for row in &table.error {
        let _ = writeln!(
            out,
            "    ErrorInfo {{\n        code: ErrorCode::{},\n        name: \"{}\",\n        fault: Fault::{},\n        \
             retry: Retry::{},\n        scope: Scope::{},\n        http_status: {},\n        close_code: {},\n        \
             retry_after_ms: {},\n        text: \"{}\",\n    }},",
            camel(&row.name),
            row.name,
            camel(&row.fault),
            camel(&row.retry),
            camel(&row.scope),
            row.http,
            row.close,
            row.retry_after_ms,
            row.text
        );
    }
    out.push_str("];\n");
    out
}

/// The rows for the TypeScript client.
pub fn typescript(table: &Table) -> String {
    let mut out = String::from(
        "// @generated from schema/errors.toml by `cargo xtask schema`; do not edit.\n\n\
         import type { Retry } from \"../wire.js\";\n\n\
         /** One row of the error table. */\nexport interface ErrorRow {\n  readonly code: number;\n  readonly name: string;\n  \
         readonly retry: Retry;\n  readonly scope: \"request\" | \"session\" | \"host\";\n  readonly retryAfterMs: number;\n  \
         readonly close: number;\n  readonly text: string;\n}\n\n\
         /** Every row, in the order of the table: a code is its row's place, from 1. */\n\
         export const ERRORS: readonly ErrorRow[] = [\n",
    );
    for row in &table.error {
        let _ = writeln!(
            out,
            "  {{ code: {}, name: \"{}\", retry: \"{}\", scope: \"{}\", retryAfterMs: {}, close: {}, text: \"{}\" }},",
            row.code, row.name, row.retry, row.scope, row.retry_after_ms, row.close, row.text
        );
    }
    out.push_str("];\n");
    out
}

/// The table for people.
pub fn markdown(table: &Table) -> String {
    let mut out = String::from(
        "# Errors\n\n<!-- Made from schema/errors.toml by `cargo xtask schema`; do not edit. -->\n\n\
         Every error a client can get, the same in every protocol. *retry*: `never` (it will not work), `same` (at once), `backoff` \
         (the same request after the time given), `after_reconnect` (on a new connection). *scope*: `request` (the session goes on), \
         `session` (it is closed), `host` (the whole server is meant).\n\n\
         | code | name | fault | retry | wait ms | scope | HTTP | close | meaning |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in &table.error {
        let _ = writeln!(
            out,
            "| {} | `{}` | {} | {} | {} | {} | {} | {} | {} |",
            row.code, row.name, row.fault, row.retry, row.retry_after_ms, row.scope, row.http, row.close, row.text
        );
    }
    out
}

fn camel(snake: &str) -> String {
    let mut out = String::new();
    for word in snake.split('_') {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.extend(letters);
    }
    out
}
