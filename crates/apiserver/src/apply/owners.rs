//! The entries of `metadata.managedFields`.

use serde_json::{Map, Value};

use super::{FieldSet, MalformedFields};

/// Most managers whose updates are told apart; applies are always.
const UPDATERS_MAX: usize = 10;
/// The manager that gets the fields of the oldest updates when there are more.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// It stated all that it wants.
    Apply,
    /// It changed them.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub manager: String,
    /// How it came to its fields.
    pub operation: Operation,
    /// The version in which the fields have these names.
    pub api_version: String,
    /// When an entry was last changed, in the form of `metav1.Time`.
    pub time: Option<String>,
    /// The subresource through which it writes; empty for the object itself.
    pub subresource: String,
    /// What it owns.
    pub fields: FieldSet,
}

impl Owner {
    /// Whether two entries are one and the same. An applier stays the same in another version.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn parse(entry: &Value) -> Result<Self, MalformedOwners> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let operation = match entry["operation"].as_str() {
            Some("Apply") => Operation::Apply,
            Some("Update") => Operation::Update,
            _ => return Err(MalformedOwners),
        };
        if entry["fieldsType"] != "FieldsV1" {
            return Err(MalformedOwners);
        }
        Ok(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            time: entry["time"].as_str().map(ToOwned::to_owned),
            subresource: text("subresource"),
            fields: FieldSet::parse(&entry["fieldsV1"])?,
        })
    }

    fn to_value(&self) -> Value {
        let mut entry = Map::new();
        let texts = [
            ("manager", self.manager.as_str()),
            ("operation", self.operation.as_str()),
            ("apiVersion", &self.api_version),
            ("time", self.time.as_deref().unwrap_or_default()),
            ("subresource", &self.subresource),
            ("fieldsType", "FieldsV1"),
        ];
        for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            entry.insert(field.to_owned(), text.into());
        }
        entry.insert("fieldsV1".to_owned(), self.fields.to_value());
        Value::Object(entry)
    }
}

/// A document that is no list of managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("metadata.managedFields is malformed")]
pub struct MalformedOwners;

impl From<MalformedFields> for MalformedOwners {
    fn from(MalformedFields: MalformedFields) -> Self {
        Self
    }
}

/// Whether two lists of `metadata.managedFields` say the same, whenever it was that they came to it.
pub fn is_same_but_for_times(one: &Value, two: &Value) -> bool {
    let timeless = |list: &Value| {
        let mut owners = Owners::parse(list)?;
        owners.0.iter_mut().for_each(|owner| owner.time = None);
        Ok::<_, MalformedOwners>(owners.to_value())
    };
    one == two || matches!((timeless(one), timeless(two)), (Ok(one), Ok(two)) if one == two)
}

/// All owners of an object's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners(pub(super) Vec<Owner>);

impl Owners {
    /// Reads `metadata.managedFields`; null is nobody.
    ///
    /// # Errors
    /// [`MalformedOwners`] if any entry is not one.
    pub fn parse(list: &Value) -> Result<Self, MalformedOwners> {
        let entries = match list {
            Value::Null => &[][..],
            Value::Array(entries) => entries,
            _ => return Err(MalformedOwners),
        };
        let mut owners = Self::default();
        for entry in entries {
            let owner = Owner::parse(entry)?;
            owners.0.retain(|other| !other.is_same(&owner));
            owners.0.push(owner);
        }
        Ok(owners)
    }

    /// Writes `metadata.managedFields`: applies first, then from old to new.
    pub fn to_value(&self) -> Value {
        let mut owners: Vec<_> = self.0.iter().collect();
        owners.sort_by_key(|owner| {
            let name = (&owner.manager, &owner.api_version, &owner.subresource);
            // Without a time it is from just now.
            (owner.operation, owner.time.is_none(), &owner.time, name)
        });
        owners.into_iter().map(Owner::to_value).collect()
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = &Owner> {
        self.0.iter()
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives fields to an owner beside those that it has.
    pub(super) fn give(&mut self, owner: Owner) {
        match self.0.iter_mut().find(|other| other.is_same(&owner)) {
            Some(other) => {
                other.fields.unite(owner.fields);
                other.time = owner.time;
            }
            None => self.0.push(owner),
        }
    }

    /// Forgets the owners of nothing, and tells old updates apart no more when they are many.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|owner| !owner.fields.is_empty());
        let is_update = |owner: &Owner| owner.operation == Operation::Update;
        let excess = self.0.iter().filter(|owner| is_update(owner)).count();
        let excess = excess.saturating_sub(UPDATERS_MAX);
        if excess == 0 {
            return;
        }
        let (mut updates, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(is_update);
        updates.sort_by(|a, b| (&a.time, &a.manager).cmp(&(&b.time, &b.manager)));
        self.0 = others;
        // The bucket takes the place of one of those that go into it.
        for old in updates.drain(..=excess) {
            self.give(Owner {
                manager: ANCIENT.to_owned(),
                subresource: String::new(),
                ..old
            });
        }
        for update in updates {
            self.give(update);
        }
    }
}
