//! `[adapters]`: the directory of the seller's own adapter files, and whether what the marketplaces say fits their adapters.

use std::path::{Path, PathBuf};

use super::Settings;
use super::finding::{Fault, Origin};
use super::parse::text;
use super::section::{Context, Section};
use super::source;
use super::tree::{Node, Table, Value, origin};
use crate::marketplaces::catalogue;

/// Files that are read of a directory at most.
const FILES_MAX: usize = 500;

#[derive(Clone, Debug)]
pub struct AdapterSettings {
    /// `None`: the program's own adapters are all.
    pub dir: Option<PathBuf>,
}

impl AdapterSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        Self { dir: Some(s.need("dir", text)).filter(|dir| !dir.is_empty()).map(PathBuf::from) }
    }
}

/// The name and text of each `*.toml` of a directory, in the order of their names.
pub fn read_directory(dir: &Path) -> Result<Vec<(String, String)>, Vec<Fault>> {
    let name = dir.to_string_lossy();
    let fault = |message: String| vec![Origin::of(&name, None).fault("", message)];
    let entries = std::fs::read_dir(dir).map_err(|error| fault(format!("cannot be read: {}", error.kind())))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| fault(format!("cannot be read: {}", error.kind())))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        return Err(fault(format!("holds {} adapter files; at most {FILES_MAX} are read", paths.len())));
    }
    paths.sort();
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        match source::read_file(&path) {
            Ok(text) => files.push((path.to_string_lossy().into_owned(), text)),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

/// Reads the directory, and looks at what each marketplace names.
pub(super) fn check(settings: &mut Settings, tree: &Table, context: &mut Context<'_>) {
    if let Some(dir) = &settings.adapters.dir {
        let loaded = read_directory(dir).and_then(|files| settings.catalogue.with_files(&files));
        match loaded {
            Ok(catalogue) => settings.catalogue = catalogue,
            Err(faults) => {
                let at = origin(tree, "adapters.dir");
                context.faults.push(at.fault("adapters.dir", "its files cannot be used"));
                context.faults.extend(faults);
                return;
            }
        }
    }
    for marketplace in &settings.marketplaces {
        let Some(id) = &marketplace.adapter else { continue };
        let path = format!("marketplaces.{}", marketplace.code);
        let node = declared(tree, &marketplace.code);
        let at = |keys: &[&str]| node.map_or_else(|| Origin::of("configuration", None), |node| find(node, keys).at.clone());
        let Some(adapter) = settings.catalogue.for_account(id, &marketplace.account) else {
            let fault = at(&["adapter"]).fault(format!("{path}.adapter"), settings.catalogue.unknown(id));
            context.faults.push(fault);
            continue;
        };
        let secrets = marketplace.secrets.keys().map(String::as_str);
        let unknown = catalogue::unknown_names(&*adapter, &marketplace.account, secrets);
        for (key, why) in unknown {
            let keys: Vec<&str> = key.splitn(2, '.').collect();
            context.faults.push(at(&keys).fault(format!("{path}.{key}"), why));
        }
        let about = adapter.about();
        let missing_account = about.account_needed.iter().filter(|name| !marketplace.account.contains_key(**name));
        let missing_secrets = about.secrets_needed.iter().filter(|name| !marketplace.secrets.contains_key(**name));
        let missing = missing_account.map(|name| ("account", *name)).chain(missing_secrets.map(|name| ("secrets", *name)));
        for (kind, name) in missing {
            let message = format!("is not set: the adapter {id} asks for nothing without it");
            context.warnings.push(at(&[kind]).warning(format!("{path}.{kind}.{name}"), message));
        }
    }
}

/// The entry of a marketplace; of several sources they are one by now.
fn declared<'t>(tree: &'t Table, code: &str) -> Option<&'t Node> {
    let Value::List(entries) = &tree.get("marketplaces")?.value else { return None };
    entries.iter().find(|entry| match &entry.value {
        Value::Table(table) => matches!(table.get("code"), Some(Node { value: Value::Text(text), .. }) if text == code),
        _ => false,
    })
}

/// As far down as there is something.
fn find<'t>(node: &'t Node, keys: &[&str]) -> &'t Node {
    let mut node = node;
    for key in keys {
        let Value::Table(table) = &node.value else { return node };
        let Some(inner) = table.get(*key) else { return node };
        node = inner;
    }
    node
}
