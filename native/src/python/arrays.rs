//! NumPy arrays in and out, with errors that name the argument, what was expected and what came.

use numpy::{
    Element, PyArray1, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn,
    PyUntypedArray, PyUntypedArrayMethods, dtype,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// A dimension that must be exact, or is free under a name.
#[derive(Clone, Copy)]
pub enum Dim {
    Is(usize),
    Free(&'static str),
}

/// A C-contiguous array that is borrowed for reading.
pub struct Input<'py, T: Element> {
    array: PyReadonlyArrayDyn<'py, T>,
}

impl<'py, T: Element> Input<'py, T> {
    /// Checks type, dtype, shape and layout of the argument called `name`.
    pub fn checked(name: &str, value: &Bound<'py, PyAny>, shape: &[Dim]) -> PyResult<Self> {
        let wanted = || -> PyResult<String> {
            Ok(format!(
                "{name}: expected a C-contiguous {} array of shape [{}]",
                dtype::<T>(value.py()).str()?,
                shape
                    .iter()
                    .map(|d| match d {
                        Dim::Is(n) => n.to_string(),
                        Dim::Free(letter) => (*letter).to_string(),
                    })
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
        };
        let Ok(array) = value.cast::<PyUntypedArray>() else {
            return Err(PyTypeError::new_err(format!(
                "{}, got {}",
                wanted()?,
                value.get_type().name()?
            )));
        };
        if !array.dtype().is_equiv_to(&dtype::<T>(value.py())) {
            return Err(PyTypeError::new_err(format!(
                "{}, got dtype {}",
                wanted()?,
                array.dtype().str()?
            )));
        }
        let fits = array.ndim() == shape.len()
            && shape
                .iter()
                .zip(array.shape())
                .all(|(want, got)| match want {
                    Dim::Is(n) => n == got,
                    Dim::Free(_) => true,
                });
        if !fits {
            return Err(PyValueError::new_err(format!(
                "{}, got shape {:?}",
                wanted()?,
                array.shape()
            )));
        }
        if !array.is_c_contiguous() {
            return Err(PyValueError::new_err(format!(
                "{}, got one that is not C-contiguous",
                wanted()?
            )));
        }
        let array = value
            .cast::<PyArrayDyn<T>>()
            .map_err(PyErr::from)?
            .try_readonly()
            .map_err(|e| PyValueError::new_err(format!("{name}: {e}")))?;
        Ok(Self { array })
    }

    /// The elements in row-major order.
    pub fn elements(&self) -> PyResult<&[T]> {
        Ok(self.array.as_slice()?)
    }

    /// The length of a dimension.
    pub fn size(&self, dimension: usize) -> usize {
        self.array.shape()[dimension]
    }
}

/// Hands a vector over as an array of the given shape, without copying.
pub fn output<T: Element>(
    py: Python<'_>,
    elements: Vec<T>,
    shape: &[usize],
) -> PyResult<Py<PyArrayDyn<T>>> {
    Ok(PyArray1::from_vec(py, elements)
        .reshape(shape.to_vec())?
        .unbind())
}

/// Groups bytes into encodings; the shape check has made the length a multiple of `N`.
pub fn grouped<const N: usize>(bytes: &[u8]) -> &[[u8; N]] {
    bytes.as_chunks::<N>().0
}

/// 32 bytes of the argument called `name`.
pub fn seed(name: &str, bytes: &[u8]) -> PyResult<[u8; 32]> {
    bytes.try_into().map_err(|_| {
        PyValueError::new_err(format!("{name}: expected 32 bytes, got {}", bytes.len()))
    })
}
