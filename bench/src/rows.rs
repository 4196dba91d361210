//! The rows of the table, one file each.

mod accept;
mod children;
mod cold;
mod compare;
mod fresh;
mod idle;
mod reused;
mod spares;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use crate::docker::Engine;
use crate::skep::Serve;
use crate::table::Report;

pub(crate) struct Context {
    pub(crate) docker: Engine,
    pub(crate) skep: PathBuf,
    pub(crate) functions: usize,
}

type Measured<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Report>> + 'a>>;

type Row = fn(&Context) -> Measured<'_>;

/// Every row by its name.
pub(crate) const ALL: [(&str, Row); 8] = [
    ("fresh", |context| Box::pin(fresh::measure(context))),
    ("compare", |context| Box::pin(compare::measure(context))),
    ("spares", |context| Box::pin(spares::measure(context))),
    ("reused", |context| Box::pin(reused::measure(context))),
    ("cold", |context| Box::pin(cold::measure(context))),
    ("idle", |context| Box::pin(idle::measure(context))),
    ("accept", |context| Box::pin(accept::measure(context))),
    ("children", |context| Box::pin(children::measure(context))),
];

/// A function for as long as a row takes: parked, served, and removed at its end.
struct Deployed<'a> {
    context: &'a Context,
    serve: Serve,
    template: String,
}

impl<'a> Deployed<'a> {
    async fn new(
        context: &'a Context,
        labels: &[(&str, &str)],
        command: &[&str],
        network: &str,
    ) -> anyhow::Result<Self> {
        let namespace = Serve::namespace();
        let mut all = vec![("skep.function", "bench"), ("skep.namespace", namespace.as_str())];
        all.extend_from_slice(labels);
        let template = context
            .docker
            .create(&format!("{namespace}-template"), &all, command, network)
            .await?;
        let serve = Serve::start(&context.skep, namespace)?;
        Ok(Self {
            context,
            serve,
            template,
        })
    }

    async fn end(self) -> anyhow::Result<()> {
        self.context.docker.remove(&self.template).await?;
        self.serve.stop()
    }
}
