//! The caller that a verified token names.

/// A verified caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's `sub`: 1 to 255 characters. A UUID is in lower case with hyphens, however the token writes it.
    pub subject: String,
    /// What the caller may do.
    pub roles: Roles,
    /// Ids of the tenants the caller may see.
    pub projects: Vec<i64>,
    /// The token's `tz`, as it was written: an IANA zone, not yet looked up.
    pub timezone: Option<String>,
    /// The token's `exp`, in seconds since 1970: from then on the caller is nobody.
    pub expires_at: u64,
}

/// Something a caller may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// May do everything.
    Admin,
    /// Works with the records of the business.
    Staff,
    /// Reads aggregates and replays the log.
    Analyst,
    /// Reads everything, changes nothing.
    Auditor,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Staff, Self::Analyst, Self::Auditor];

    /// The role as tokens spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Staff => "staff",
            Self::Analyst => "analyst",
            Self::Auditor => "auditor",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Admin => 1,
            Self::Staff => 2,
            Self::Analyst => 4,
            Self::Auditor => 8,
        }
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Whether the set holds `role`.
    pub fn contains(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether the set holds one of `roles`.
    pub fn any(self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.contains(*role))
    }

    /// The roles of the set.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.contains(*role))
    }

    /// Roles by name. Names that mean nothing here are left out: issuers put other systems' roles there too.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().filter_map(|name| Role::ALL.into_iter().find(|role| role.name() == name)).collect()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}
