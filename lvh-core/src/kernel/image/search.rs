use std::ffi::c_void;

/// The offset of `needle` in `haystack`.
///
/// libc's, because kernels are 60 MB and the caller's crate is often built without optimisation.
pub(in crate::kernel) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (start, wanted) = (haystack.as_ptr().cast::<c_void>(), needle.as_ptr().cast::<c_void>());
    // SAFETY: both pointers come from slices and go with the slices' own lengths.
    let found = unsafe { libc::memmem(start, haystack.len(), wanted, needle.len()) };
    (!found.is_null()).then(|| found as usize - start as usize)
}

#[cfg(test)]
mod tests {
    #[test]
    fn offsets() {
        for (needle, at) in [("a", Some(0)), ("cd", Some(2)), ("x", None), ("abcdef", None)] {
            assert_eq!(super::find(b"abcd", needle.as_bytes()), at, "{needle}");
        }
        assert_eq!(super::find(b"", b"a"), None);
    }
}
