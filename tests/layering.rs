//! The layers of `src/` as data, held against every file: who may name whom, and who may touch the world.
//!
//! The table here is the one drawn in `src/lib.rs`. A file's `#[cfg(test)]` part is not looked at: tests may
//! reach wherever they must.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

struct Layer {
    name: &'static str,
    /// Layers of this crate it may name.
    may_name: &'static [&'static str],
    /// Crates from outside it may name, beside `std`.
    crates: &'static [&'static str],
    world: World,
}

#[derive(PartialEq)]
enum World {
    /// No file, socket, thread or clock.
    Pure,
    /// Touches the world through what is listed only.
    Allowed(&'static [&'static str]),
    /// Wires everything together.
    All,
}

const EVERY_CRATE: &[&str] = &[
    "base64",
    "bytes",
    "clap",
    "core_affinity",
    "crc_fast",
    "crossbeam_channel",
    "getrandom",
    "hashbrown",
    "idna",
    "io_uring",
    "jiff",
    "memchr",
    "mimalloc",
    "monoio",
    "nix",
    "rustix",
    "serde_json",
    "signal_hook",
    "socket2",
    "uuid",
];

/// What a pure layer must not hold: each is a way to reach a file, a socket, a thread or a clock.
const WORLDLY: &[&str] = &[
    "std::fs",
    "std::os",
    "std::thread",
    "std::process",
    "std::env",
    "std::io::stdin",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "Instant::now",
    "SystemTime::now",
    "SystemTime",
    "rustix",
    "monoio",
    "socket2",
];

const LAYERS: &[Layer] = &[
    Layer { name: "message", may_name: &[], crates: &["bytes", "memchr", "crc_fast"], world: World::Pure },
    Layer { name: "wire", may_name: &[], crates: &["bytes", "memchr"], world: World::Pure },
    Layer { name: "observe", may_name: &[], crates: &[], world: World::Allowed(&[]) },
    Layer { name: "policy", may_name: &["message"], crates: &["hashbrown", "idna"], world: World::Pure },
    Layer {
        name: "log",
        may_name: &["message"],
        crates: &["bytes", "crc_fast", "getrandom", "rustix", "uuid"],
        world: World::Allowed(&["storage.rs"]),
    },
    Layer {
        name: "handoff",
        may_name: &["message"],
        crates: &["crossbeam_channel", "rustix"],
        world: World::Allowed(&["doorbell.rs", "queue.rs"]),
    },
    Layer {
        name: "smtp",
        may_name: &["message", "policy", "wire"],
        crates: &["bytes", "memchr"],
        world: World::Pure,
    },
    Layer {
        name: "shard",
        may_name: &["message", "wire", "policy", "smtp", "handoff", "observe"],
        crates: &["bytes", "core_affinity", "io_uring", "monoio", "nix", "socket2", "rustix"],
        world: World::Allowed(&["net.rs", "listener.rs", "connection.rs", "deadline.rs", "mod.rs"]),
    },
    Layer {
        name: "commit",
        may_name: &["message", "handoff", "log", "observe"],
        crates: &["crossbeam_channel"],
        world: World::Allowed(&["thread.rs", "prepare.rs"]),
    },
    Layer { name: "server", may_name: ALL, crates: EVERY_CRATE, world: World::All },
    Layer { name: "config", may_name: ALL, crates: EVERY_CRATE, world: World::All },
    Layer { name: "cli", may_name: ALL, crates: EVERY_CRATE, world: World::All },
];

const ALL: &[&str] = &[
    "message", "wire", "observe", "policy", "log", "handoff", "smtp", "shard", "commit", "server", "config",
    "cli",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files_below(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files_below(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The files of a layer: those of its folder, the one file of its name, or both.
fn files_of(layer: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let folder = source().join(layer);
    if folder.is_dir() {
        files_below(&folder, &mut files);
    }
    files.extend(Some(folder.with_extension("rs")).filter(|file| file.is_file()));
    assert!(!files.is_empty(), "no file of the layer {layer}");
    files
}

/// The production part of a file without comments and string literals; nothing of a file of tests only.
fn code_of(path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if stem.ends_with("_tests") || stem == "tests" || stem == "fixture" {
        return String::new();
    }
    let text = fs::read_to_string(path).expect("a readable source file");
    let production = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let without_comments = production.lines().map(|line| match line.trim_start().starts_with("//") {
        true => "",
        false => line.split(" // ").next().unwrap_or_default(),
    });
    let mut code = String::new();
    for line in without_comments {
        // Every second part between quotes is a literal; good enough for lines without escaped quotes.
        code.extend(line.split('"').step_by(2));
        code.push('\n');
    }
    code
}

fn words_behind<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(prefix).map(move |(at, _)| {
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Names in `crate::{a::X, b::Y}` at the first level of the braces.
fn names_in_braces(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (at, found) in code.match_indices("crate::{") {
        let mut depth = 0;
        let mut expect_name = true;
        let rest = &code[at + found.len()..];
        for (position, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expect_name = true,
                c if expect_name && (c.is_alphabetic() || c == '_') => {
                    expect_name = false;
                    let tail = &rest[position..];
                    let end = tail.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tail.len());
                    names.push(&tail[..end]);
                }
                _ => {}
            }
        }
    }
    names
}

#[test]
fn a_layer_names_only_layers_it_may() {
    let mut faults = Vec::new();
    for layer in LAYERS {
        for file in files_of(layer.name) {
            let code = code_of(&file);
            let named =
                words_behind(&code, "crate::").filter(|name| !name.is_empty()).chain(names_in_braces(&code));
            for name in named.filter(|name| *name != layer.name && !layer.may_name.contains(name)) {
                faults.push(format!("{}: {} may not name crate::{name}", file.display(), layer.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `name::` or `use name;`, where `unix::` is not `nix::`.
fn names_crate(code: &str, name: &str) -> bool {
    let begins_word = |at: &usize| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| begins_word(&at)) || code.contains(&format!("use {name};"))
}

#[test]
fn a_layer_uses_only_crates_it_may() {
    let mut faults = Vec::new();
    for layer in LAYERS {
        for file in files_of(layer.name) {
            let code = code_of(&file);
            for name in EVERY_CRATE.iter().filter(|name| !layer.crates.contains(name)) {
                if names_crate(&code, name) {
                    faults.push(format!("{}: {} may not use {name}", file.display(), layer.name));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_named_files_touch_the_world() {
    let mut faults = Vec::new();
    for layer in LAYERS {
        for file in files_of(layer.name) {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match layer.world {
                World::All => continue,
                World::Allowed(names) if names.contains(&name) => continue,
                World::Allowed(_) | World::Pure => {}
            }
            let code = code_of(&file);
            for word in WORLDLY.iter().filter(|word| code.contains(*word)) {
                faults.push(format!(
                    "{}: holds {word}; keep it in {}'s outer files",
                    file.display(),
                    layer.name
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn monoio_is_named_in_one_place() {
    for file in files_of("shard") {
        let code = code_of(&file);
        let socket_types = ["monoio::net", "monoio::io"];
        let is_net = file.ends_with("net.rs");
        assert!(
            is_net || socket_types.iter().all(|word| !code.contains(word)),
            "{}: only shard/net.rs names monoio's I/O",
            file.display()
        );
    }
}

#[test]
fn every_file_opens_with_its_job() {
    let mut files = Vec::new();
    files_below(&source(), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable source file");
        assert!(text.starts_with("//!"), "{} has no //! head", file.display());
    }
}

#[test]
fn the_map_names_every_layer_there_is() {
    let folders: BTreeSet<String> = fs::read_dir(source())
        .expect("src is readable")
        .filter_map(|entry| entry.expect("a readable entry").path().file_stem()?.to_str().map(str::to_owned))
        .filter(|name| name != "lib" && name != "main")
        .collect();
    let table: BTreeSet<String> = LAYERS.iter().map(|layer| layer.name.to_owned()).collect();
    assert_eq!(table, folders, "the table of this test and the folders of src/");
    let map = fs::read_to_string(source().join("lib.rs")).expect("lib.rs is readable");
    for name in folders {
        assert!(map.contains(&format!("//! - [`{name}`]")), "lib.rs has no paragraph for {name}");
        assert!(map.contains(&format!("pub mod {name};")), "lib.rs does not declare {name}");
    }
}
