//! Worked examples in Markdown that stay true: a block that begins with `$ loadgen capacity …` holds what that prints.

use super::Refused;

const PROMPT: &str = "$ loadgen capacity ";
const FENCE: &str = "```";

/// The text with the output of every `loadgen capacity` command put in place. A command may go on over lines that end in `\`.
///
/// # Errors
/// A command that cannot be run, or a block that does not end.
pub fn rewrite(text: &str, output: &dyn Fn(&[&str]) -> Result<String, Refused>) -> Result<String, Refused> {
    let mut after = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        after.push_str(line);
        after.push('\n');
        let Some(first) = line.strip_prefix(PROMPT) else { continue };
        let mut command = first.to_owned();
        while let Some(more) = command.strip_suffix('\\') {
            let next = lines.next().unwrap_or_default();
            after.push_str(next);
            after.push('\n');
            command = format!("{} {}", more.trim_end(), next.trim());
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        after.push_str(output(&words)?.trim_end());
        after.push('\n');
        if !lines.any(|line| line.starts_with(FENCE)) {
            return Err(Refused::Input(format!("the block of `{PROMPT}{command}` does not end with {FENCE}")));
        }
        after.push_str(FENCE);
        after.push('\n');
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::capacity;

    #[test]
    fn the_worked_examples_are_what_the_command_prints() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CAPACITY.md");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.matches(PROMPT).count() >= 2, "both designs are there");
        let after = rewrite(&text, &capacity::output).unwrap();
        let first = text.lines().zip(after.lines()).position(|(a, b)| a != b);
        assert!(text == after, "line {first:?} differs: loadgen capacity --update-docs docs/CAPACITY.md");
    }

    #[test]
    fn only_the_output_is_replaced() {
        let text = "a\n```console\n$ loadgen capacity --users 1 \\\n    --online 1\nold\nold\n```\nb\n";
        let said = rewrite(text, &|words| Ok(format!("new {}", words.join("|")))).unwrap();
        let expected =
            "a\n```console\n$ loadgen capacity --users 1 \\\n    --online 1\nnew --users|1|--online|1\n```\nb\n";
        assert_eq!(said, expected);
        assert_eq!(rewrite(&said, &|words| Ok(format!("new {}", words.join("|")))).unwrap(), said);
        assert!(rewrite("$ loadgen capacity x\n", &|_| Ok(String::new())).is_err());
    }
}
