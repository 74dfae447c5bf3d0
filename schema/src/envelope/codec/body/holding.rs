//! Which writer holds what, and what they say to each other of partitions that move.

use super::*;
use crate::envelope::MoveStage;
use crate::places::Places;

pub(super) fn encode_holding(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        Body::Owners { node, partitions, holdings, places } => {
            let node = Some(fbb.create_string(node));
            let of = |holding: &Holding| link::Holding::new(holding.epoch, holding.partition, holding.held);
            let holdings: Vec<_> = holdings.iter().map(of).collect();
            let holdings = Some(fbb.create_vector(&holdings));
            let of = |&(chat, partition): &(ChatId, u16)| link::Place::new(&link::Id(chat.0), partition);
            let away: Vec<_> = places.away().iter().map(of).collect();
            let away = Some(fbb.create_vector(&away));
            union!(
                fbb,
                Owners,
                OwnersArgs {
                    node: node,
                    partitions: *partitions,
                    holdings: holdings,
                    places_version: places.version,
                    places: away,
                }
            )
        }
        Body::Move { node, partition, epoch, stage } => {
            let node = Some(fbb.create_string(node));
            let stage = match stage {
                MoveStage::ReadAhead => link::MoveStage::ReadAhead,
                MoveStage::Read => link::MoveStage::Read,
                MoveStage::Yours => link::MoveStage::Yours,
            };
            union!(fbb, Move, MoveArgs { node: node, partition: *partition, epoch: *epoch, stage: stage })
        }
        _ => unreachable!("encode_body sends no other kind here"),
    }
}

pub(super) fn decode_holding(root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    if root.body_type() == link::Body::Owners {
        let b = member!(root, body_as_owners);
        let of = |holding: &link::Holding| Holding {
            partition: holding.partition(),
            epoch: holding.epoch(),
            held: holding.held(),
        };
        let holdings = b.holdings().map(|list| list.iter().map(of).collect()).unwrap_or_default();
        let of = |place: &link::Place| (ChatId(place.chat().0), place.partition());
        let away: Vec<_> = b.places().map(|list| list.iter().map(of).collect()).unwrap_or_default();
        if away.iter().any(|(_, partition)| *partition >= b.partitions()) {
            return Err(EnvelopeError::Malformed("a chat is in a partition that there is not".to_owned()));
        }
        let places = Places::new(b.places_version(), away);
        return Ok(Body::Owners { node: b.node().to_owned(), partitions: b.partitions(), holdings, places });
    }
    let b = member!(root, body_as_move);
    let stage = match b.stage() {
        link::MoveStage::ReadAhead => MoveStage::ReadAhead,
        link::MoveStage::Read => MoveStage::Read,
        link::MoveStage::Yours => MoveStage::Yours,
        other => return Err(EnvelopeError::Malformed(format!("a move is at the unknown stage {}", other.0))),
    };
    Ok(Body::Move { node: b.node().to_owned(), partition: b.partition(), epoch: b.epoch(), stage })
}
