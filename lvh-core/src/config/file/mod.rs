//! The text of `lvh.toml`, until it is checked.

/// What people call a value of this type: `toml` has two enums with these variants.
macro_rules! describe {
    ($value:expr, $enum:ident) => {
        match $value {
            $enum::String(_) => "a string",
            $enum::Integer(_) => "a number",
            $enum::Float(_) => "a number with a fraction",
            $enum::Boolean(_) => "a boolean",
            $enum::Datetime(_) => "a date",
            $enum::Array(_) => "an array",
            $enum::Table(_) => "a table",
        }
    };
}

pub(in crate::config) mod document;
mod fields;
mod image_actions;
pub(in crate::config) mod image_table;
pub(in crate::config) mod kernel_table;
mod raw;
pub(in crate::config) mod schema;
