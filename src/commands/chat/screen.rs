//! The chat on a terminal: lines above, one line to type in below, ticks that change where they stand.
//!
//! Enter sends; Page Up and Page Down scroll, and at the top older messages are fetched; Ctrl-C, Ctrl-D or Esc leaves. The
//! terminal is given back however this ends.

use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};
use miette::{IntoDiagnostic, Result};
use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as TextLine, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};
use tokio::sync::mpsc;
use tui_input::Input as Typed;
use tui_input::backend::crossterm::EventHandler as _;

use super::talk::{Change, Line, Link, Talk, Tick, clock, printable};
use super::{Session, name};

/// Older lines fetched at a time.
const OLDER: u64 = 100;
/// Lines a page key moves.
const PAGE: u16 = 10;

/// What is on the screen besides the talk.
#[derive(Default)]
struct View {
    typed: Typed,
    /// Rows scrolled up from the newest.
    up: u16,
    note: String,
}

pub(super) async fn run(mut session: Session) -> Result<()> {
    let mut terminal = ratatui::try_init().into_diagnostic()?;
    let result = show(&mut session, &mut terminal).await;
    ratatui::restore();
    result?;
    session.client.close().await.into_diagnostic()
}

async fn show(session: &mut Session, terminal: &mut DefaultTerminal) -> Result<()> {
    let mut keys = keys();
    let mut view = View::default();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        terminal.draw(|frame| draw(frame, &session.talk, &mut view)).into_diagnostic()?;
        tokio::select! {
            input = keys.recv() => match input {
                None => return Ok(()),
                Some(Input::Key(key)) if key.kind != KeyEventKind::Release => {
                    if !pressed(session, &mut view, key).await {
                        return Ok(());
                    }
                }
                Some(input) => drop(view.typed.handle_event(&input)),
            },
            event = session.client.next() => match session.event(event).await? {
                Some(Change::Note(note) | Change::Failed(note)) => view.note = note,
                Some(Change::Link) => view.note.clear(),
                _ => {}
            },
            // The countdown to the next attempt.
            _ = second.tick() => {}
        }
    }
}

/// What the terminal says. Its reads block, so they have a thread, which ends with the process.
fn keys() -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        while let Ok(input) = event::read() {
            if sender.blocking_send(input).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Acts on a key; `false`: the user leaves.
async fn pressed(session: &mut Session, view: &mut View, key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Esc => return false,
        KeyCode::Char('c' | 'd') if control => return false,
        KeyCode::PageUp | KeyCode::Up => {
            view.up = view.up.saturating_add(if key.code == KeyCode::Up { 1 } else { PAGE });
            if usize::from(view.up) + 1 >= session.talk.lines.len() && session.older(OLDER).await {
                view.note.clear();
            }
        }
        KeyCode::PageDown => view.up = view.up.saturating_sub(PAGE),
        KeyCode::Down => view.up = view.up.saturating_sub(1),
        KeyCode::Enter => {
            let text = view.typed.value().trim().to_owned();
            if !text.is_empty() {
                match session.send(&text).await {
                    Ok(()) => {
                        view.typed.reset();
                        view.note.clear();
                        view.up = 0;
                    }
                    Err(why) => view.note = format!("not sent: {why}"),
                }
            }
        }
        _ => drop(view.typed.handle_event(&Input::Key(key))),
    }
    true
}

fn draw(frame: &mut Frame<'_>, talk: &Talk, view: &mut View) {
    let [head, middle, note, input] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1), Constraint::Length(3)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(title(talk)).style(Style::new().add_modifier(Modifier::REVERSED)), head);
    draw_lines(frame, middle, talk, view);
    frame.render_widget(Paragraph::new(view.note.as_str()).style(Style::new().fg(Color::Yellow)), note);
    draw_input(frame, input, talk, view);
}

fn title(talk: &Talk) -> String {
    let link = match &talk.link {
        Link::Connecting => "connecting".to_owned(),
        Link::Online => "online".to_owned(),
        Link::Away { why, retry_at_ms } => {
            let left_ms = retry_at_ms.saturating_sub(SystemClock.now().wall_ms());
            format!("offline: {why}; again in {} s", left_ms.div_ceil(1_000))
        }
    };
    format!(" {} with {} · {link} · Enter sends, Esc leaves", talk.me, talk.peer)
}

fn draw_lines(frame: &mut Frame<'_>, area: Rect, talk: &Talk, view: &mut View) {
    let placed = talk.lines.iter().map(|(seq, line)| {
        let tick = (line.from == talk.me).then(|| talk.tick(*seq));
        shown(talk, line, tick, None)
    });
    let waiting = talk.waiting.iter().map(|waiting| {
        let line = Line { from: talk.me, text: waiting.text.clone(), at_ms: 0 };
        shown(talk, &line, Some(Tick::Waiting), waiting.failed.as_deref())
    });
    let lines: Vec<TextLine<'static>> = placed.chain(waiting).collect();
    let rows = wrapped_rows(&lines, area.width);
    let most = rows.saturating_sub(area.height);
    view.up = view.up.min(most);
    let text = Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((most - view.up, 0));
    frame.render_widget(text, area);
}

/// Rows that lines take at a width, as [`Paragraph`] wraps words: never fewer than it draws, so the newest is never hidden.
fn wrapped_rows(lines: &[TextLine<'_>], width: u16) -> u16 {
    let width = usize::from(width.max(1));
    let rows = lines.iter().map(|line| {
        let mut rows = 1;
        let mut used = 0;
        let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
        for word in text.split_inclusive(' ') {
            let word = TextLine::from(word).width();
            if used + word > width && used > 0 {
                rows += 1;
                used = 0;
            }
            rows += word.saturating_sub(1) / width;
            used = if word > width { word % width } else { used + word };
        }
        rows
    });
    u16::try_from(rows.sum::<usize>()).unwrap_or(u16::MAX)
}

fn shown(talk: &Talk, line: &Line, tick: Option<Tick>, failed: Option<&str>) -> TextLine<'static> {
    let (mark, colour) = match (tick, failed) {
        (_, Some(_)) => ("! ", Color::Red),
        (None, _) => ("  ", Color::Reset),
        (Some(Tick::Waiting), _) => ("… ", Color::DarkGray),
        (Some(Tick::Sent), _) => ("✓ ", Color::DarkGray),
        (Some(Tick::Delivered), _) => ("✓✓", Color::DarkGray),
        (Some(Tick::Read), _) => ("✓✓", Color::Blue),
    };
    let time = if line.at_ms == 0 { "     ".to_owned() } else { clock(line.at_ms, &talk.zone) };
    let who = if line.from == talk.me { Style::new() } else { Style::new().fg(Color::Cyan) };
    let mut spans = vec![
        Span::styled(format!("{time} "), Style::new().fg(Color::DarkGray)),
        Span::styled(format!("{mark} "), Style::new().fg(colour)),
        Span::styled(format!("{}: ", name(talk, line.from)), who.add_modifier(Modifier::BOLD)),
        Span::raw(printable(&line.text).replace(['\n', '\t'], " ")),
    ];
    if let Some(why) = failed {
        spans.push(Span::styled(format!("  ({why})"), Style::new().fg(Color::Red)));
    }
    TextLine::from(spans)
}

fn draw_input(frame: &mut Frame<'_>, area: Rect, talk: &Talk, view: &View) {
    let block = Block::new().borders(Borders::TOP | Borders::BOTTOM).title(format!(" to {} ", talk.peer));
    let inner = block.inner(area);
    let scroll = view.typed.visual_scroll(usize::from(inner.width.saturating_sub(1)));
    let typed = Paragraph::new(view.typed.value()).scroll((0, u16::try_from(scroll).unwrap_or(u16::MAX))).block(block);
    frame.render_widget(typed, area);
    let column = view.typed.visual_cursor().max(scroll) - scroll;
    frame.set_cursor_position((inner.x + u16::try_from(column).unwrap_or(0), inner.y));
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use schema::ids::UserId;

    fn talk() -> Talk {
        let user = |id| UserId::new(id).expect("not 0");
        let mut talk = Talk::new(user(7), user(9));
        talk.lines.insert(1, Line { from: user(9), text: "are you there?".to_owned(), at_ms: 60_000 });
        talk.lines.insert(2, Line { from: user(7), text: "yes\u{1b}[31m, I am".to_owned(), at_ms: 120_000 });
        talk.taken(bytes::Bytes::from_static(b"a"), "one more".to_owned());
        talk
    }

    fn drawn(talk: &Talk, view: &mut View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        terminal.draw(|frame| draw(frame, talk, view)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect()
    }

    #[test]
    fn lines_ticks_and_the_state_are_on_the_screen() {
        let mut view = View { note: "a note".to_owned(), ..View::default() };
        let rows = drawn(&talk(), &mut view, 60, 10);
        assert_eq!(rows[0], " 7 with 9 · connecting · Enter sends, Esc leaves");
        assert_eq!(rows[1], "00:01    9: are you there?");
        assert_eq!(rows[2], "00:02 ✓  you: yes\u{fffd}[31m, I am");
        assert_eq!(rows[3], "      …  you: one more");
        assert_eq!(rows[6], "a note");
    }

    #[test]
    fn the_newest_line_is_seen_on_a_narrow_and_low_screen() {
        for width in [8, 13, 20, 60] {
            let rows = drawn(&talk(), &mut View::default(), width, 12);
            assert!(rows.concat().contains("more"), "{width}: {rows:?}");
        }
    }

    #[test]
    fn scrolling_stops_at_the_oldest() {
        let mut view = View { up: 500, ..View::default() };
        let rows = drawn(&talk(), &mut view, 60, 7);
        assert!(rows.concat().contains("are you there?"), "{rows:?}");
        assert_eq!(view.up, 1, "two rows show, a third is below");
    }
}
