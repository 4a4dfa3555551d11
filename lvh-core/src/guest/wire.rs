//! How values become bytes and back: little-endian integers, length-prefixed bytes.
//!
//! Compiled into lvh-core and into lvh-init, so it uses nothing but `std`. The peer is not trusted: decoding never
//! panics, and never allocates more than the bytes it was given.

use std::io;

/// A value that can travel.
pub trait Wire: Sized {
    /// Appends the value to `out`.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the value off the front of `input`.
    ///
    /// # Errors
    /// `InvalidData` when `input` is too short or holds something else.
    fn take(input: &mut &[u8]) -> io::Result<Self>;
}

/// The error of every malformed message.
pub fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed message: {what}"))
}

fn split<'a>(input: &mut &'a [u8], len: usize) -> io::Result<&'a [u8]> {
    let (head, rest) = input.split_at_checked(len).ok_or_else(|| malformed("cut short"))?;
    *input = rest;
    Ok(head)
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Wire for $int {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(input: &mut &[u8]) -> io::Result<Self> {
                let bytes = split(input, size_of::<Self>())?;
                Ok(Self::from_le_bytes(bytes.try_into().expect("split gave that many bytes")))
            }
        }
    )*};
}
integers!(u8, u32, i32, u64);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }
    fn take(input: &mut &[u8]) -> io::Result<Self> {
        match u8::take(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed("not a bool")),
        }
    }
}

/// Bytes that are text or not, such as paths, arguments and output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Wire for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        (self.0.len() as u32).put(out);
        out.extend_from_slice(&self.0);
    }
    fn take(input: &mut &[u8]) -> io::Result<Self> {
        let len = u32::take(input)? as usize;
        Ok(Self(split(input, len)?.to_vec()))
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(input: &mut &[u8]) -> io::Result<Self> {
        Self::from_utf8(Bytes::take(input)?.0).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(input: &mut &[u8]) -> io::Result<Self> {
        let len = u32::take(input)? as usize;
        // No `with_capacity`: the count is the peer's word, the bytes are what it really sent.
        (0..len).map(|_| T::take(input)).collect()
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(input: &mut &[u8]) -> io::Result<Self> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(input: &mut &[u8]) -> io::Result<Self> {
        Ok(if bool::take(input)? { Some(T::take(input)?) } else { None })
    }
}

/// Declares structs whose wire form is their fields in order.
macro_rules! wire_struct {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl $crate::guest::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }
            fn take(input: &mut &[u8]) -> std::io::Result<Self> {
                Ok(Self { $($field: <$type as $crate::guest::wire::Wire>::take(input)?,)* })
            }
        }
    )*};
}

/// Declares an enum whose wire form is its tag byte, then the variant's fields in order.
macro_rules! wire_enum {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $tag:literal => $variant:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? },)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant { $($(#[$field_meta])* $field: $type,)* },)* }

        impl $crate::guest::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant { $($field),* } => {
                        out.push($tag);
                        $($field.put(out);)*
                    })*
                }
            }
            fn take(input: &mut &[u8]) -> std::io::Result<Self> {
                match u8::take(input)? {
                    $($tag => Ok(Self::$variant { $($field: <$type as $crate::guest::wire::Wire>::take(input)?,)* }),)*
                    _ => Err($crate::guest::wire::malformed(concat!("unknown ", stringify!($name)))),
                }
            }
        }
    };
}
pub(crate) use {wire_enum, wire_struct};
