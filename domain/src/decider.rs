//! The shape every decision has: `decide` says which events follow from a command, `evolve` remembers them.
