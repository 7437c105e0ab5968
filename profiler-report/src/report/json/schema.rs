//! docs/report-schema.json is what is derived from the types of the report; `UPDATE_GOLDEN=1` rewrites it.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use super::Document;

/// Programs that read reports should notice a key that they do not know, so every object is closed. Here and not
/// by an attribute at each struct, because a new one would soon be without it. A report has all its keys, so none
/// has a default, whatever the recording's own format may leave out.
fn close(schema: &mut Schema) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    schema.remove("default");
}

fn derived() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(RecursiveTransform(close));
    let schema = settings.into_generator().into_root_schema_for::<Document<'static>>();
    let text = serde_json::to_string(&schema).expect("a schema is JSON");
    // The types' names end so to differ from those of the analysis; to a reader of the schema all of it is JSON.
    serde_json::from_str(&text.replace("Json\"", "\"")).expect("names have no quotes")
}

#[test]
fn the_schema_is_the_derived_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report-schema.json");
    let derived = derived();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let schema: Schema = derived.clone().try_into().expect("it was one");
        let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
        std::fs::write(path, text + "\n").expect("the schema is writable");
    }
    let committed = std::fs::read_to_string(path).expect("the schema is there");
    let committed: Value = serde_json::from_str(&committed).expect("the schema is JSON");
    // As values: the order of keys depends on the features of serde_json that the rest of the build asks for.
    assert!(
        committed == derived,
        "differs from {path}: if the report is right, UPDATE_GOLDEN=1 rewrites it. It is now:\n{derived:#}"
    );
}
