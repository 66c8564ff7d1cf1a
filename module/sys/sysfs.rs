// SPDX-License-Identifier: GPL-2.0-only

//! A directory of read-only numbers under `/sys/kernel`.

use crate::bindings;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use kernel::ffi::c_char;
use kernel::prelude::*;
use kernel::str::CString;

#[repr(C)]
struct File {
    attribute: UnsafeCell<bindings::kobj_attribute>,
    name: CString,
    value: fn(usize) -> u64,
    index: usize,
}

/// The directory; dropping it removes it.
pub(crate) struct Directory {
    object: NonNull<bindings::kobject>,
    files: KVec<KBox<File>>,
}

// SAFETY: the files are only read after they were made.
unsafe impl Send for Directory {}
// SAFETY: as above.
unsafe impl Sync for Directory {}

unsafe extern "C" fn show(
    _: *mut bindings::kobject,
    attribute: *mut bindings::kobj_attribute,
    page: *mut c_char,
) -> isize {
    // SAFETY: the attribute is the first field of a `File` that lives as long as the directory.
    let file = unsafe { &*attribute.cast::<File>() };
    let value = (file.value)(file.index);
    // SAFETY: `page` is the page sysfs hands to show functions.
    unsafe { bindings::sysfs_emit(page, c"%llu\n".as_ptr().cast(), value) as isize }
}

impl Directory {
    /// Makes `/sys/kernel/NAME`.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: the name is a C string; the parent is the kernel's own object.
        let object = unsafe { bindings::kobject_create_and_add(name.as_ptr().cast(), bindings::pdmv2_kernel_kobj()) };
        Ok(Self { object: NonNull::new(object).ok_or(ENOMEM)?, files: KVec::new() })
    }

    /// Adds a file that shows `value(index)`.
    pub(crate) fn add(&mut self, name: CString, value: fn(usize) -> u64, index: usize) -> Result {
        let file = KBox::new(
            File { attribute: UnsafeCell::new(bindings::kobj_attribute::default()), name, value, index },
            GFP_KERNEL,
        )?;
        // SAFETY: the box keeps attribute and name at their addresses until the directory is gone.
        unsafe { bindings::pdmv2_sysfs_attribute(file.attribute.get(), file.name.as_char_ptr().cast(), Some(show)) };
        let attribute = file.attribute.get();
        self.files.push(file, GFP_KERNEL)?;
        // SAFETY: the directory is there, and the attribute complete.
        kernel::error::to_result(unsafe { bindings::pdmv2_sysfs_create(self.object.as_ptr(), attribute) })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: made by `new`; removal waits for readers, so that the files may be freed after it.
        unsafe {
            bindings::kobject_del(self.object.as_ptr());
            bindings::kobject_put(self.object.as_ptr());
        }
    }
}
