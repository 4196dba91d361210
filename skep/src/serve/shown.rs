//! What is in force, as every control listener shows it.

use skep_catalogue::Catalogue;
use skep_control::{api, view};
use skep_model::Function;

/// Every function in force and every invalid template, by name; `show` says of the former what goes on in it.
pub(super) fn functions(
    catalogue: &Catalogue,
    show: impl Fn(&Function) -> api::Function,
) -> Vec<api::Function> {
    let valid = catalogue.functions().map(|function| show(function));
    let mut functions: Vec<api::Function> = valid
        .chain(catalogue.invalid().iter().map(view::invalid))
        .collect();
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    functions
}

/// Everything about the templates that carry one name; `None` where none does.
pub(super) fn detail(
    catalogue: &Catalogue,
    name: &str,
    show: impl Fn(&Function) -> api::Function,
) -> Option<api::FunctionDetail> {
    let function = catalogue.function(name);
    let invalid: Vec<api::Function> = catalogue
        .invalid()
        .iter()
        .filter(|invalid| invalid.name == name)
        .map(view::invalid)
        .collect();
    if function.is_none() && invalid.is_empty() {
        return None;
    }
    let template = function.map(|function| &function.template);
    Some(api::FunctionDetail {
        name: name.to_owned(),
        function: function.map(|function| show(function)),
        settings: function
            .map(|function| view::settings(&function.settings))
            .unwrap_or_default(),
        networks: template
            .map(|template| template.networks.clone())
            .unwrap_or_default(),
        memory: template.and_then(|template| template.memory),
        image_id: template.map(|template| template.image_id.clone()),
        invalid,
    })
}
