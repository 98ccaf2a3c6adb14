//! The modules at the top of a crate form no cycle: each can be read, tested and moved without those that use it.
//!
//! This reads the source as text. It knows `crate::` and `super::` paths, and it follows the names that a crate's root
//! re-exports to the module that defines them. It leaves out comments and unit tests.
#![expect(clippy::unwrap_used, reason = "tests: what fails here is meant to fail loudly")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Uses in `api` that close a cycle today, as (user, used). An entry goes when its reason does; none is added.
const API_CYCLES: &[(&str, &str)] = &[
    // The application's state holds the log's subscriptions, and their handlers take that state.
    ("app", "log"),
];

#[test]
fn the_modules_of_the_log_form_no_cycle() {
    assert_eq!(Graph::of("eventlog/src/lib.rs").cycles(&[]), Vec::<String>::new());
}

#[test]
fn the_modules_of_the_server_form_no_cycle_but_for_those_that_are_listed() {
    assert_eq!(Graph::of("api/src/lib.rs").cycles(API_CYCLES), Vec::<String>::new());
}

#[test]
fn a_listed_cycle_that_is_gone_leaves_the_list() {
    let graph = Graph::of("api/src/lib.rs");
    for (position, (from, to)) in API_CYCLES.iter().enumerate() {
        let others: Vec<_> = API_CYCLES.iter().filter(|edge| **edge != (*from, *to)).copied().collect();
        assert!(!graph.cycles(&others).is_empty(), "entry {position}, {from} → {to}, closes no cycle any more");
    }
}

#[test]
fn paths_lead_to_the_modules_that_define_what_they_name() {
    let root = "mod engine; pub mod read;\npub use self::{engine::Log as Store, read::{Page, Scan}};";
    let source = "// crate::engine::Comment\nuse crate::{Page, engine::{self, Inner}, other::Thing};\n\
                  fn f() -> super::Store { crate::read::scan() }\n#[cfg(test)]\nmod tests { use crate::Scan; }";
    let names = Names::of(root);
    assert_eq!(names.modules, BTreeSet::from(["engine".to_owned(), "read".to_owned()]));
    let used = |depth| names.used(source, depth).into_iter().map(|(module, _line)| module).collect::<Vec<_>>();
    assert_eq!(used(1), ["read", "engine", "engine", "read", "engine"]);
    assert_eq!(used(2), ["read", "engine", "engine", "read"], "from a module within a module, super is not the root");
}

#[test]
fn a_cycle_is_found_and_told_with_its_way() {
    let edge = |from: &str, to: &str| ((from.to_owned(), to.to_owned()), format!("{from}.rs:1"));
    let graph = Graph { edges: BTreeMap::from([edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("c", "d")]) };
    assert_eq!(graph.cycles(&[]), ["a → b (a.rs:1), b → c (b.rs:1), c → a (c.rs:1)"]);
    assert_eq!(graph.cycles(&[("c", "a")]), Vec::<String>::new());
}

/// Which module uses which, with a place where it does.
struct Graph {
    edges: BTreeMap<(String, String), String>,
}

impl Graph {
    /// The graph of the crate with this root file, named from the workspace's folder.
    fn of(root: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(root);
        let names = Names::of(&fs::read_to_string(&root).unwrap());
        let folder = root.parent().unwrap();
        let mut edges = BTreeMap::new();
        for module in &names.modules {
            let mut files = vec![folder.join(format!("{module}.rs"))];
            files.retain(|file| file.exists());
            sources(&folder.join(module), &mut files);
            assert!(!files.is_empty(), "module {module} has no file");
            for file in files {
                let inside = file.strip_prefix(folder).unwrap();
                for (used, line) in names.used(&fs::read_to_string(&file).unwrap(), depth(inside)) {
                    if used != *module {
                        edges.entry((module.clone(), used)).or_insert(format!("{}:{line}", inside.display()));
                    }
                }
            }
        }
        assert!(!edges.is_empty(), "no module of {} uses another: the paths are not understood", root.display());
        Self { edges }
    }

    /// A shortest cycle through each module that is part of one, each cycle once.
    fn cycles(&self, allowed: &[(&str, &str)]) -> Vec<String> {
        let edges: BTreeSet<(&str, &str)> = self.edges.keys().map(|(from, to)| (&**from, &**to)).collect();
        let edges: BTreeSet<_> = edges.into_iter().filter(|edge| !allowed.contains(edge)).collect();
        let modules: BTreeSet<&str> = edges.iter().map(|(from, _)| *from).collect();
        let mut found = BTreeMap::new();
        for start in modules {
            let mut ways = vec![vec![start]];
            let mut seen = BTreeSet::new();
            while let Some(way) = (!ways.is_empty()).then(|| ways.remove(0)) {
                let last = *way.last().unwrap();
                if last == start && way.len() > 1 {
                    let members: BTreeSet<&str> = way.iter().copied().collect();
                    found.entry(members).or_insert_with(|| self.tell(&way));
                    break;
                }
                let next = edges.iter().filter(|(from, to)| *from == last && seen.insert(*to));
                ways.extend(next.map(|(_, to)| [&way[..], &[*to]].concat()));
            }
        }
        found.into_values().collect()
    }

    fn tell(&self, way: &[&str]) -> String {
        let step = |pair: &[&str]| {
            let place = &self.edges[&(pair[0].to_owned(), pair[1].to_owned())];
            format!("{} → {} ({place})", pair[0], pair[1])
        };
        way.windows(2).map(step).collect::<Vec<_>>().join(", ")
    }
}

/// What can be named from a crate's root.
struct Names {
    modules: BTreeSet<String>,
    /// The module behind a re-exported name.
    reexports: BTreeMap<String, String>,
}

impl Names {
    fn of(root: &str) -> Self {
        let code = code_of(root);
        let words: Vec<&str> = code.split(|c: char| !is_of_name(c) && c != ';').collect();
        let declared = words.windows(2).filter(|pair| pair[0] == "mod" && pair[1].ends_with(';'));
        let modules = declared.map(|pair| pair[1].trim_end_matches(';').to_owned()).collect();
        let mut reexports = BTreeMap::new();
        for at in ends_of(&code, "self::") {
            for path in branches(&code[at..]) {
                if let [module, .., name] = &path[..] {
                    reexports.insert(name.clone(), module.clone());
                }
            }
        }
        Self { modules, reexports }
    }

    /// The modules that `source` uses, with lines. `depth`: 1 for a module at the top, whose `super` is the root.
    fn used(&self, source: &str, depth: usize) -> Vec<(String, usize)> {
        let code = code_of(source);
        let from_root = ends_of(&code, "crate::").into_iter().chain(ends_of(&code, &"super::".repeat(depth)));
        let mut used = Vec::new();
        for at in from_root {
            let line = code[..at].matches('\n').count() + 1;
            for path in branches(&code[at..]) {
                let module =
                    path.first().and_then(|first| self.modules.get(first).or_else(|| self.reexports.get(first)));
                used.extend(module.map(|module| (module.clone(), line)));
            }
        }
        used
    }
}

/// Without comments and without the unit tests, which stand at the end of a file; lines stay where they are.
fn code_of(source: &str) -> String {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    code.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Where what follows `prefix` begins, wherever a path begins with it.
fn ends_of(code: &str, prefix: &str) -> Vec<usize> {
    let begins_path = |at: &usize| !code[..*at].ends_with(|c: char| is_of_name(c) || c == ':');
    code.match_indices(prefix).map(|(at, _)| at).filter(begins_path).map(|at| at + prefix.len()).collect()
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// All paths of the tree that `code` begins with: `a::{b, c::d}` has a, b and a, c, d. An alias counts as its name.
fn branches(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    branch(code, &[], &mut paths);
    paths
}

/// Reads one branch; returns what comes after it.
fn branch<'c>(code: &'c str, before: &[String], paths: &mut Vec<Vec<String>>) -> &'c str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let after = branch(rest, before, paths).trim_start();
            let after = after.strip_prefix(',').unwrap_or(after);
            if after.len() == rest.len() {
                return after;
            }
            rest = after;
        }
    }
    let end = code.find(|c: char| !is_of_name(c)).unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let path = [before, &[name.to_owned()]].concat();
    if let Some(rest) = rest.strip_prefix("::") {
        return branch(rest, &path, paths);
    }
    if let Some(alias) = rest.strip_prefix(" as ") {
        let end = alias.find(|c: char| !is_of_name(c)).unwrap_or(alias.len());
        paths.push([before, &[alias[..end].to_owned()]].concat());
        return &alias[end..];
    }
    if !name.is_empty() {
        paths.push(path);
    }
    rest
}

/// How many modules lead to the one in `file`: 1 for `a.rs` and `a/mod.rs`, 2 for `a/b.rs`.
fn depth(file: &Path) -> usize {
    file.components().count() - usize::from(file.ends_with("mod.rs"))
}

/// The sources below `folder`, without those of unit tests.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}
