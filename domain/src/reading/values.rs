//! The small values of reading: a place in a book, a kind of device, why a session ended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in a book in whole percent, 0 to 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

impl Percent {
    /// The end of a book.
    pub const MAX: Self = Self(100);

    /// `percent` as a place in a book; `None` above 100.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        if percent <= Self::MAX.0 { Some(Self(percent)) } else { None }
    }

    /// The number, 0 to 100.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} %", self.0)
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

impl TryFrom<u8> for Percent {
    type Error = AboveHundred;

    fn try_from(percent: u8) -> Result<Self, AboveHundred> {
        Self::new(percent).ok_or(AboveHundred(percent))
    }
}

/// A number that is no place in a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is above 100 percent")]
pub struct AboveHundred(u8);

/// What somebody reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceType {
    /// A phone.
    Mobile,
    /// A tablet.
    Tablet,
    /// A computer.
    Desktop,
}

impl DeviceType {
    /// The stored and served name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Desktop => "desktop",
        }
    }
}

impl FromStr for DeviceType {
    type Err = UnknownDeviceType;

    fn from_str(name: &str) -> Result<Self, UnknownDeviceType> {
        match name {
            "mobile" => Ok(Self::Mobile),
            "tablet" => Ok(Self::Tablet),
            "desktop" => Ok(Self::Desktop),
            unknown => Err(UnknownDeviceType(unknown.to_owned())),
        }
    }
}

/// A name that is no kind of device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a device type: mobile, tablet or desktop")]
pub struct UnknownDeviceType(String);

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// The reader ended it.
    Requested,
    /// The reader started another one.
    Superseded,
    /// There was no sign of life for long enough.
    Idle,
    /// It was read offline and recorded afterwards.
    Offline,
}

impl EndReason {
    /// The stored and served name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Superseded => "superseded",
            Self::Idle => "idle",
            Self::Offline => "offline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_book_is_a_number_from_0_to_100() {
        assert_eq!(serde_json::to_string(&Percent(42)).unwrap(), "42");
        assert_eq!(serde_json::from_str::<Percent>("100").unwrap(), Percent::MAX);
        for json in ["101", "256", "-1", "2.5", "\"5\"", "null"] {
            assert!(serde_json::from_str::<Percent>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn the_stored_names_are_the_served_ones() {
        for device in [DeviceType::Mobile, DeviceType::Tablet, DeviceType::Desktop] {
            assert_eq!(serde_json::to_value(device).unwrap(), device.as_str());
            assert_eq!(device.as_str().parse(), Ok(device));
        }
        for reason in [EndReason::Requested, EndReason::Superseded, EndReason::Idle, EndReason::Offline] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        assert_eq!("Mobile".parse::<DeviceType>(), Err(UnknownDeviceType("Mobile".to_owned())));
    }
}
