//! The date, as names of files have it.

use std::io;

/// `YYYYMMDD.HHMMSS`, in the machine's time zone.
pub(crate) fn local_time() -> io::Result<String> {
    // SAFETY: all zeros are a `tm`, whose zone may be null; time(2) takes a null pointer; localtime_r(3) writes to `tm` alone.
    let tm = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut tm: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&now, &mut tm).is_null() {
            return Err(io::Error::last_os_error());
        }
        tm
    };
    let date = [tm.tm_mon + 1, tm.tm_mday].map(|part| format!("{part:02}")).concat();
    Ok(format!("{}{date}.{:02}{:02}{:02}", tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec))
}
