//! Tables by column: each field of all rows together, under its name.
//!
//! A column's name stands once a table and not once a row, and like numbers lie side by side, which compresses well. What a
//! later version adds is a column that an earlier reader skips, and what an earlier version lacks is read as the default.

use serde::{Deserialize, Serialize};

/// Columns that are not all equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uneven;

/// Declares a row type's columns: `columns!(SampleColumns of Sample { thread: u32, … });`
macro_rules! columns {
    ($columns:ident of $row:ty { $($field:ident: $type:ty),* $(,)? }) => {
        #[derive(Default, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $columns {
            $($field: Vec<$type>,)*
        }

        impl $columns {
            pub fn of<'a>(rows: impl IntoIterator<Item = &'a $row>) -> Self
            where
                $row: 'a,
            {
                let mut columns = Self::default();
                for row in rows {
                    $(columns.$field.push(row.$field.clone());)*
                }
                columns
            }

            /// The rows again. A column that is not there has default values.
            pub fn into_rows(self) -> Result<Vec<$row>, $crate::capture::columns::Uneven> {
                let count = [$(self.$field.len()),*].into_iter().max().unwrap_or(0);
                $(let mut $field = $crate::capture::columns::whole(self.$field, count)?;)*
                Ok((0..count)
                    .map(|_| {
                        let mut row = <$row>::default();
                        $(row.$field = $field.next().unwrap_or_default();)*
                        row
                    })
                    .collect())
            }
        }
    };
}
pub(super) use columns;

/// A column with a value for each row, or none at all.
pub fn whole<T>(column: Vec<T>, rows: usize) -> Result<std::vec::IntoIter<T>, Uneven> {
    if column.is_empty() || column.len() == rows { Ok(column.into_iter()) } else { Err(Uneven) }
}

/// Lists of different lengths, one behind the other.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lists {
    /// How long each is.
    lengths: Vec<u32>,
}

impl Lists {
    /// Notes the length of the next list.
    pub fn push(&mut self, length: usize) {
        self.lengths.push(length as u32);
    }

    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// The lists of `all`, which they have to use up.
    pub fn split<T>(self, all: Vec<T>) -> Result<Vec<Vec<T>>, Uneven> {
        let sum: u64 = self.lengths.iter().map(|&length| u64::from(length)).sum();
        if sum != all.len() as u64 {
            return Err(Uneven);
        }
        let mut all = all.into_iter();
        Ok(self.lengths.iter().map(|&length| all.by_ref().take(length as usize).collect()).collect())
    }
}
