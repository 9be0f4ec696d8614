//! `METADATA` columns against what the connector knows about its rows.

use rheos_core::connector::{Connector, MetadataColumn};
use rheos_core::error::{Error, Result, did_you_mean};

use crate::ddl::{ColumnDdl, ColumnKind, MetadataDdl, TableDdl};
use crate::types::display;

/// The metadata columns of a table, in the order of their declaration.
///
/// Errors: `Invalid` for a connector without metadata, an unknown key (with the nearest), or a type that is not the key's.
pub(crate) fn columns(ddl: &TableDdl, connector: &dyn Connector) -> Result<Vec<MetadataColumn>> {
    let declared = ddl.columns.iter().filter_map(|c| match &c.kind {
        ColumnKind::Metadata(metadata) => Some((c, metadata)),
        _ => None,
    });
    declared.map(|(c, metadata)| column(c, metadata, connector)).collect()
}

fn column(column: &ColumnDdl, metadata: &MetadataDdl, connector: &dyn Connector) -> Result<MetadataColumn> {
    let (name, key) = (&column.name.value, &metadata.key);
    let refuse = |what: String, hint: String| Err(Error::invalid(169, what).with_hint(hint));
    let known = connector.metadata();
    if known.is_empty() {
        let what = format!("tables of '{}' have no metadata", connector.name());
        let hint = format!("take the column '{name}' away, or METADATA if it is stored in the table");
        return refuse(what, hint).map_err(|e| e.with_span(metadata.key_at));
    }
    let Some(found) = known.iter().find(|k| k.key == key) else {
        let keys: Vec<_> = known.iter().map(|k| k.key).collect();
        let list = format!("the keys are: {}", keys.join(", "));
        let what = format!("tables of '{}' have no metadata '{key}'", connector.name());
        return refuse(what, did_you_mean(key, keys, &list)).map_err(|e| e.with_span(metadata.key_at));
    };
    let (is, wanted) = (display(&metadata.data_type), display(&found.data_type));
    if is != wanted {
        let what = format!("the metadata '{key}' is {wanted}, but the column '{name}' is declared as {is}");
        let hint = format!("declare it as {name} {wanted} METADATA FROM '{key}', and cast it in the query");
        return refuse(what, hint).map_err(|e| e.with_span(metadata.type_at));
    }
    Ok(MetadataColumn { name: name.clone(), key: key.clone(), data_type: metadata.data_type.clone() })
}
