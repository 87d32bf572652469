//! Reading a page.

/// One step of a page.
pub enum Step {
    Fault(String),
    Mended,
    Started,
    Typed { command: String, says: Vec<String> },
    Docker(String),
}

/// Takes a page apart.
///
/// # Panics
/// At a block that is none of the known ones, and at a `sh` block without what it says.
pub fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line
            .strip_prefix("<!-- fault: ")
            .and_then(|rest| rest.strip_suffix(" -->"))
        {
            steps.push(Step::Fault(name.to_owned()));
        } else if line == "<!-- mended -->" {
            steps.push(Step::Mended);
        } else if line == "<!-- started -->" {
            steps.push(Step::Started);
        } else if let Some(kind) = line.strip_prefix("```") {
            let block: Vec<String> = lines
                .by_ref()
                .take_while(|line| *line != "```")
                .map(str::to_owned)
                .collect();
            match kind {
                "sh" => {
                    assert_eq!(lines.next(), Some("```text"), "what does {block:?} say?");
                    let says = lines
                        .by_ref()
                        .take_while(|line| *line != "```")
                        .map(str::to_owned)
                        .collect();
                    steps.push(Step::Typed {
                        command: block.join("\n"),
                        says,
                    });
                }
                "console docker" => steps.extend(block.into_iter().map(Step::Docker)),
                other => panic!("a block of the kind {other:?}"),
            }
        }
    }
    steps
}

/// A command of a container is one that Docker has.
pub fn assert_docker(command: &str) {
    const KNOWN: [&str; 8] = [
        "docker logs ",
        "docker inspect ",
        "docker ps",
        "docker exec ",
        "docker run ",
        "docker compose logs ",
        "docker compose exec ",
        "docker compose restart ",
    ];
    let compose_up = command.starts_with("docker compose ") && command.contains(" up -d");
    assert!(
        compose_up || KNOWN.iter().any(|known| command.starts_with(known)),
        "{command}"
    );
}

/// What was said, with blanks and breaks told apart by nothing.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line of the page, with `…` for anything, is in what was said.
pub fn says(said: &str, line: &str) -> bool {
    let mut rest = said;
    line.split('…').map(one_line).all(|piece| {
        let Some(at) = rest.find(&piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
        true
    })
}
