/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As it is written.
    Number(Box<str>),
    String(String),
    Array(Vec<Self>),
    /// Members in their order; a name may be there twice.
    Object(Vec<(String, Self)>),
}

impl Value {
    /// An object of these members.
    pub(crate) fn object<'n>(members: impl IntoIterator<Item = (&'n str, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A string.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// An array of strings.
    pub(crate) fn texts(texts: &[String]) -> Self {
        Self::Array(texts.iter().map(Self::text).collect())
    }

    /// The member `name` of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// As [`Value::get`], to be changed.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        let Self::Object(members) = self else { return None };
        members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The string at the end of `path`, member by member.
    pub(crate) fn str_at(&self, path: &[&str]) -> Option<&str> {
        match path.iter().try_fold(self, |value, name| value.get(name))? {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}
