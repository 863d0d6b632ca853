//! Signatures in batches, a quick look at JSON, and the tree of the ledger's state.

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use super::arrays::seed;
use super::raised;
use crate::ed25519::{self, Claim};
use crate::json;
use crate::sparse::{self, Hash, Pending, Record, Store};

type Parts = (PyBackedBytes, PyBackedBytes, PyBackedBytes, PyBackedBytes);

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "the claims are held while the interpreter runs on"
)]
fn ed25519_verify(py: Python<'_>, claims: Vec<Parts>, threads: usize) -> PyResult<Vec<bool>> {
    let claims: Vec<_> = claims
        .iter()
        .map(|(public, frame, message, signature)| Claim {
            public,
            frame,
            message,
            signature,
        })
        .collect();
    py.detach(|| ed25519::verify_vartime(&claims, threads))
        .map_err(|fault| raised(py, &fault))
}

#[pyfunction]
fn plain_json(text: &[u8]) -> bool {
    json::is_plain(text)
}

/// A dictionary of records by hash.
struct Nodes<'a, 'py>(&'a Bound<'py, PyDict>);

impl Store for Nodes<'_, '_> {
    type Error = PyErr;

    fn get(&self, digest: &Hash) -> PyResult<Record> {
        let key = PyBytes::new(self.0.py(), digest);
        let Some(found) = self.0.get_item(&key)? else {
            return Err(PyKeyError::new_err(key.unbind()));
        };
        Record::decoded(found.cast::<PyBytes>()?.as_bytes()).ok_or_else(|| {
            PyValueError::new_err("nodes: expected 64 bytes, or 65 of a leaf, under a hash")
        })
    }
}

#[pyfunction]
fn sparse_update<'py>(
    nodes: &Bound<'py, PyDict>,
    root: &[u8],
    changes: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = nodes.py();
    let changes = changes
        .iter()
        .map(|(key, value)| Ok((seed("key", key.extract()?)?, value.extract()?)))
        .collect::<PyResult<Vec<(Hash, Option<PyBackedBytes>)>>>()?;
    let store = Nodes(nodes);
    let pairs = changes.iter().map(|(key, value)| (*key, value.as_deref()));
    let mut pending = Pending::new(&store, pairs);
    let changed = pending.applied(seed("root", root)?)?;
    for (digest, record) in &pending.written {
        nodes.set_item(
            PyBytes::new(py, digest),
            PyBytes::new(py, &record.encoded()),
        )?;
    }
    Ok(PyBytes::new(py, &changed))
}

#[pyfunction]
fn sparse_discard(nodes: &Bound<'_, PyDict>, root: &[u8], kept: &[u8]) -> PyResult<usize> {
    let gone = sparse::gone(&Nodes(nodes), seed("root", root)?, seed("kept", kept)?)?;
    for digest in &gone {
        nodes.del_item(PyBytes::new(nodes.py(), digest))?;
    }
    Ok(gone.len())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(ed25519_verify, module)?)?;
    module.add_function(wrap_pyfunction!(plain_json, module)?)?;
    module.add_function(wrap_pyfunction!(sparse_update, module)?)?;
    module.add_function(wrap_pyfunction!(sparse_discard, module)?)
}
