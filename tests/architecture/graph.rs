//! A graph of imports, and the circles in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// For each module what it imports, with one of the paths that do.
#[derive(Debug, Default)]
pub struct Graph(BTreeMap<String, BTreeMap<String, String>>);

impl Graph {
    /// Notes that `from` imports `to` by `path`.
    pub fn add(&mut self, from: &str, to: &str, path: &str) {
        self.0
            .entry(from.to_owned())
            .or_default()
            .entry(to.to_owned())
            .or_insert_with(|| path.to_owned());
    }

    /// Every import: from, to, path.
    pub fn edges(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.iter().flat_map(|(from, imports)| {
            imports
                .iter()
                .map(move |(to, path)| (from.as_str(), to.as_str(), path.as_str()))
        })
    }

    /// The same between the subtrees of each module's children, and that module itself.
    pub fn between_siblings(&self) -> Self {
        let mut siblings = Self::default();
        for (from, to, path) in self.edges() {
            let (from, to): (Vec<&str>, Vec<&str>) =
                (from.split("::").collect(), to.split("::").collect());
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            let subtree = |module: &[&str]| module[..module.len().min(common + 1)].join("::");
            siblings.add(&subtree(&from), &subtree(&to), path);
        }
        siblings
    }

    fn imports(&self, module: &str) -> impl Iterator<Item = (&String, &String)> {
        self.0.get(module).into_iter().flatten()
    }

    fn reachable(&self, start: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![start];
        while let Some(module) = waiting.pop() {
            for (to, _) in self.imports(module) {
                if reached.insert(to.clone()) {
                    waiting.push(to);
                }
            }
        }
        reached
    }

    /// A shortest way from the first module of `circle` back to it.
    pub fn way_round(&self, circle: &BTreeSet<String>) -> Vec<(String, String, String)> {
        let start = circle.first().expect("a circle has modules");
        let mut arrived_from: BTreeMap<&String, (&String, &String)> = BTreeMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(from) = waiting.pop_front() {
            for (to, path) in self.imports(from) {
                if circle.contains(to) && !arrived_from.contains_key(to) {
                    arrived_from.insert(to, (from, path));
                    waiting.push_back(to);
                }
            }
        }
        let mut way = Vec::new();
        let mut to = start;
        loop {
            let (from, path) = arrived_from[to];
            way.push((from.clone(), to.clone(), path.clone()));
            to = from;
            if to == start {
                way.reverse();
                return way;
            }
        }
    }
}

/// The groups of modules that each reach every other of their group.
pub fn circles(graph: &Graph) -> BTreeSet<BTreeSet<String>> {
    let reachable: BTreeMap<&String, BTreeSet<String>> = graph
        .0
        .keys()
        .map(|module| (module, graph.reachable(module)))
        .collect();
    reachable
        .iter()
        .filter(|(module, reached)| reached.contains(**module))
        .map(|(module, reached)| {
            reached
                .iter()
                .filter(|other| {
                    reachable
                        .get(other)
                        .is_some_and(|back| back.contains(*module))
                })
                .cloned()
                .collect()
        })
        .collect()
}

#[test]
fn a_circle_is_found_and_walked() {
    let mut graph = Graph::default();
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")] {
        graph.add(from, to, &format!("crate::{to}::X"));
    }
    let found = circles(&graph);
    assert_eq!(found.len(), 1);
    let circle = found.first().unwrap();
    assert_eq!(circle.iter().map(String::as_str).collect::<String>(), "abc");
    let way = graph.way_round(circle);
    assert_eq!(way.len(), 3);
    assert_eq!(way[0], ("a".into(), "b".into(), "crate::b::X".into()));
}
