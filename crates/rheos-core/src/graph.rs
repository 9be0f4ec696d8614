//! The job graph: what runs, and how rows go from one node to the next. SQL and the Rust API both build it.
//!
//! Invariant: nodes are in topological order (an edge comes from a smaller id), and ids are stable: they are made of
//! meaning (kind, facts, inputs), never of positions or of what else the job does (the module `identity`).

mod identity;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use xxhash_rust::xxh3::xxh3_64;

use crate::change::{self, Changes};
use crate::letters;
use crate::operator::{OperatorFactory, Port};
use crate::sink::Sink;
use crate::source::{Boundedness, Source, WatermarkSpec};

/// How often a row shows in the output of a job that keeps state, whatever happens to the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarantee {
    /// It may be missing after a crash: an input cannot be read again.
    AtMostOnce,
    /// It may show again after a crash: the sink shows rows before a checkpoint is complete.
    AtLeastOnce,
    /// Once.
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::AtMostOnce => "at-most-once",
            Guarantee::AtLeastOnce => "at-least-once",
            Guarantee::ExactlyOnce => "exactly-once",
        })
    }
}

/// A node's place in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// How rows reach the workers of the next node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// They stay on their worker.
    Forward,
    /// By the hash of these columns.
    Hash(Vec<usize>),
    /// All to worker 0.
    Single,
    /// All to every worker.
    Broadcast,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exchange::Forward => f.write_str("forward"),
            Exchange::Hash(_) => f.write_str("hash"),
            Exchange::Single => f.write_str("single"),
            Exchange::Broadcast => f.write_str("broadcast"),
        }
    }
}

/// An input of a node.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Where the rows come from.
    pub from: NodeId,
    /// Which of its outputs.
    pub port: Port,
    /// How they travel.
    pub exchange: Exchange,
}

/// What a node does.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Reads a table.
    Source {
        /// The connector.
        source: Arc<dyn Source>,
        /// How its watermark is made; without one the table has no event time.
        watermark: Option<WatermarkSpec>,
    },
    /// A function of single rows: no state, no time. Neighbours are fused.
    Stateless(Arc<dyn OperatorFactory>),
    /// Everything with state, time or several inputs.
    Stateful(Arc<dyn OperatorFactory>),
    /// Puts its inputs together as they come.
    Union,
    /// Puts side outputs together: what could not be used of a table. Its id is made of its name alone, since what feeds it
    /// changes with the rest of the program; nothing that reads it feeds one.
    Side(SchemaRef),
    /// Writes a table.
    Sink(Arc<dyn Sink>),
}

/// One step of a job.
#[derive(Debug, Clone)]
pub struct Node {
    /// Stable over restarts and rebuilds; see the module.
    pub operator_id: String,
    /// A short name for people, e.g. `tumble`.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// Its inputs.
    pub inputs: Vec<Edge>,
    /// The schema of port 0.
    pub schema: SchemaRef,
    /// Columns of port 0 that no two rows which are there at a time agree in, where some are known.
    pub key: Option<Vec<usize>>,
    /// Whether of a row that goes only the key is sure.
    pub is_upsert: bool,
    /// How long its state lives where no window ends it; for ever, if nothing is said.
    pub state_ttl_ms: Option<i64>,
    /// The id, but for the number that tells it from others of the same meaning: those come and go with the rest of the job.
    meaning: String,
}

impl Node {
    /// What its rows say.
    pub fn changes(&self) -> Changes {
        match (change::has_weights(&self.schema), self.is_upsert) {
            (false, _) => Changes::Append,
            (true, false) => Changes::Retract,
            (true, true) => Changes::Upsert,
        }
    }

    /// Its meaning as ordered facts.
    pub fn describe(&self) -> Vec<(String, String)> {
        match &self.kind {
            NodeKind::Source { source, watermark } => {
                let mut facts = source.describe();
                if let Some(w) = watermark {
                    let column = source.schema().field(w.column).name().clone();
                    facts.push(("watermark".into(), format!("{column} - {} ms", w.delay_ms)));
                }
                facts
            }
            NodeKind::Stateless(f) | NodeKind::Stateful(f) => f.describe(),
            NodeKind::Union | NodeKind::Side(_) => vec![],
            NodeKind::Sink(sink) => sink.describe(),
        }
    }
}

/// What the user says of steps of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// Their name. Their ids are made of it and of what each does to which columns, whatever they read those from.
    pub id: Option<String>,
    /// How long state that no window ends lives behind the last change of its key, in ms of event time.
    pub state_ttl_ms: Option<i64>,
}

/// A directed acyclic graph of nodes.
#[derive(Debug, Clone, Default)]
pub struct JobGraph {
    nodes: Vec<Node>,
    naming: Naming,
    standing_by: Vec<(String, Arc<dyn Sink>)>,
}

impl JobGraph {
    /// Adds a node behind its inputs.
    ///
    /// Panics if an input does not exist yet: the builder of the graph is at fault, not its user.
    pub fn add(&mut self, name: impl Into<String>, kind: NodeKind, inputs: Vec<Edge>) -> NodeId {
        let id = NodeId(self.nodes.len());
        assert!(inputs.iter().all(|e| e.from < id), "a node is added after its inputs");
        let schema = match &kind {
            NodeKind::Source { source, .. } => source.schema(),
            NodeKind::Stateless(f) | NodeKind::Stateful(f) => f.schema(),
            NodeKind::Union => self.union_schema(&inputs),
            NodeKind::Side(schema) => Arc::clone(schema),
            NodeKind::Sink(sink) => sink.schema(),
        };
        let state_ttl_ms = self.naming.state_ttl_ms.filter(|_| matches!(kind, NodeKind::Stateful(_)));
        let (operator_id, meaning) = (String::new(), String::new());
        let (key, is_upsert) = (None, false);
        let mut node =
            Node { operator_id, name: name.into(), kind, inputs, schema, key, is_upsert, state_ttl_ms, meaning };
        node.meaning = self.meaning(&node);
        node.operator_id = self.told_apart(&node);
        self.nodes.push(node);
        id
    }

    /// What is known of a node's rows: columns that no two of them agree in. No part of its id.
    pub fn set_key(&mut self, node: NodeId, key: Option<Vec<usize>>) {
        self.nodes[node.0].key = key;
    }

    /// Of the rows that go, only the key is sure.
    pub fn set_upsert(&mut self, node: NodeId, key: Vec<usize>) {
        self.nodes[node.0].key = Some(key);
        self.nodes[node.0].is_upsert = true;
    }

    /// How long state lives of nodes that are added from now on, where no window ends it.
    pub fn state_ttl_ms(&self) -> Option<i64> {
        self.naming.state_ttl_ms
    }

    /// Whether some of its rows come from a source without an end.
    pub fn is_endless(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let is_endless = |source: &Arc<dyn Source>| source.boundedness() == Boundedness::Unbounded;
        // What feeds a side output may not be known yet.
        let is_unfed = matches!(&node.kind, NodeKind::Side(_)) && node.inputs.is_empty();
        matches!(&node.kind, NodeKind::Source { source, .. } if is_endless(source))
            || is_unfed
            || node.inputs.iter().any(|edge| self.is_endless(edge.from))
    }

    /// Whether the watermark of its rows stays where it is until the input ends.
    pub fn holds_watermark(&self, id: NodeId) -> bool {
        let node = self.node(id);
        matches!(&node.kind, NodeKind::Stateful(factory) if factory.holds_watermark())
            || node.inputs.iter().any(|edge| self.holds_watermark(edge.from))
    }

    /// What holds for the nodes that are added from now on; returns what held before.
    pub fn name_next(&mut self, naming: Naming) -> Naming {
        std::mem::replace(&mut self.naming, naming)
    }

    /// Puts another factory in the place of an operator's, which means the same: its id stays.
    pub fn replace_operator(&mut self, node: NodeId, by: Arc<dyn OperatorFactory>) {
        if let NodeKind::Stateless(factory) | NodeKind::Stateful(factory) = &mut self.nodes[node.0].kind {
            *factory = by;
        }
    }

    /// Adds a sink that no node feeds, under the stable id of its node: what an earlier program has staged by it becomes visible
    /// still.
    pub fn stand_by(&mut self, operator_id: String, sink: Arc<dyn Sink>) {
        self.standing_by.push((operator_id, sink));
    }

    /// The sinks that no node feeds, with their ids.
    pub fn standing_by(&self) -> &[(String, Arc<dyn Sink>)] {
        &self.standing_by
    }

    /// Feeds side outputs into nodes, which may stand before what feeds them, and puts the nodes into an order in which
    /// every edge comes from a smaller id again: the ids given out before mean other nodes then.
    ///
    /// Panics if a node would feed itself: the builder of the graph is at fault, not its user.
    pub fn feed(&mut self, edges: Vec<(NodeId, Edge)>) {
        for (node, edge) in edges {
            self.nodes[node.0].inputs.push(edge);
        }
        let mut places: Vec<Option<NodeId>> = vec![None; self.nodes.len()];
        let mut sorted = Vec::with_capacity(self.nodes.len());
        while sorted.len() < self.nodes.len() {
            let before = sorted.len();
            for (at, node) in self.nodes.iter().enumerate() {
                if places[at].is_none() && node.inputs.iter().all(|e| places[e.from.0].is_some()) {
                    places[at] = Some(NodeId(sorted.len()));
                    sorted.push(node.clone());
                }
            }
            assert!(sorted.len() > before, "a node feeds itself");
        }
        for edge in sorted.iter_mut().flat_map(|node: &mut Node| &mut node.inputs) {
            edge.from = places[edge.from.0].unwrap_or(edge.from);
        }
        self.nodes = sorted;
    }

    /// Whether anything reads an output of a node.
    pub fn is_read(&self, node: NodeId, port: Port) -> bool {
        self.nodes.iter().flat_map(|n| &n.inputs).any(|e| e.from == node && e.port == port)
    }

    /// The first input's columns; one that may be null in any input may be null in the union.
    fn union_schema(&self, inputs: &[Edge]) -> SchemaRef {
        let schemas: Vec<_> = inputs.iter().map(|e| &self.nodes[e.from.0].schema).collect();
        let nullable = |at: usize| schemas.iter().any(|s| s.fields().get(at).is_some_and(|f| f.is_nullable()));
        let fields =
            schemas[0].fields().iter().enumerate().map(|(at, f)| f.as_ref().clone().with_nullable(nullable(at)));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The nodes, inputs first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The ids, inputs first.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// The nodes that read from `id`, with the index of the input.
    pub fn readers(&self, id: NodeId) -> Vec<(NodeId, usize)> {
        let edges = |n: NodeId| self.node(n).inputs.iter().enumerate();
        self.ids().flat_map(|n| edges(n).filter(|(_, e)| e.from == id).map(move |(i, _)| (n, i))).collect()
    }

    /// What holds for the output of a sink if the job keeps state: the weakest of its sources and of itself.
    pub fn guarantee(&self, sink: NodeId) -> Guarantee {
        let node = self.node(sink);
        let own = match &node.kind {
            NodeKind::Sink(sink) if !sink.is_transactional() => Guarantee::AtLeastOnce,
            NodeKind::Source { source, .. } if !source.is_replayable() => Guarantee::AtMostOnce,
            _ => Guarantee::ExactlyOnce,
        };
        node.inputs.iter().map(|edge| self.guarantee(edge.from)).fold(own, Guarantee::min)
    }

    /// Changes when the meaning of the job changes: workers of one job must agree on it.
    pub fn fingerprint(&self) -> u64 {
        let text: String = self.nodes.iter().map(|n| format!("{}\n{}\n", n.operator_id, n.schema)).collect();
        xxh3_64(text.as_bytes())
    }

    fn meaning(&self, node: &Node) -> String {
        if node.name.starts_with(letters::SINK_PREFIX) {
            return letters::sink_id(&node.name);
        }
        match (&self.naming.id, &node.kind) {
            // Where a source stands is said of its splits, and they say what they are.
            (Some(name), NodeKind::Source { .. }) => name.clone(),
            (Some(name), _) => {
                let hash = xxh3_64(identity::text(self, node, true).as_bytes());
                format!("{name}-{}-{hash:016x}", node.name)
            }
            (None, _) => {
                let hash = xxh3_64(identity::text(self, node, false).as_bytes());
                format!("{}-{hash:016x}", node.name)
            }
        }
    }

    /// The meaning, and behind it the first number that makes it an id of its own.
    fn told_apart(&self, node: &Node) -> String {
        let numbered = (1..).map(|n| format!("{}-{n}", node.meaning));
        let mut ids = std::iter::once(node.meaning.clone()).chain(numbered);
        ids.find(|id| self.nodes.iter().all(|n| n.operator_id != *id)).unwrap_or_default()
    }
}
