//! How serde carries lvh-core's keywords (`kvm`, `hung-task`): by their one spelling, as `lvh.toml` has them.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// For an `Option<T>`.
pub(super) mod one {
    use super::{Deserialize, Deserializer, Display, FromStr, Serialize, Serializer, read};

    pub(in crate::job) fn serialize<T: Display, S: Serializer>(word: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        word.as_ref().map(ToString::to_string).serialize(to)
    }

    pub(in crate::job) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Option::<String>::deserialize(from)?.map(|word| read(&word)).transpose()
    }
}

/// For an `Option<Vec<T>>`.
pub(super) mod many {
    use super::{Deserialize, Deserializer, Display, FromStr, Serialize, Serializer, read};

    pub(in crate::job) fn serialize<T, S>(words: &Option<Vec<T>>, to: S) -> Result<S::Ok, S::Error>
    where
        T: Display,
        S: Serializer,
    {
        let words = words.as_ref().map(|words| words.iter().map(ToString::to_string).collect::<Vec<_>>());
        words.serialize(to)
    }

    pub(in crate::job) fn deserialize<'de, T, D>(from: D) -> Result<Option<Vec<T>>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let words = Option::<Vec<String>>::deserialize(from)?;
        words.map(|words| words.iter().map(|word| read(word)).collect()).transpose()
    }
}

fn read<T: FromStr<Err: Display>, E: Error>(word: &str) -> Result<T, E> {
    word.parse().map_err(|expected| E::custom(format_args!("`{word}` ({expected})")))
}
