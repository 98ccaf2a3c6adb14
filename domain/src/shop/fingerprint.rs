//! What tells a sale sent again from another sale with the same number.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_128;

use super::money::Money;
use super::sales::SaleDraft;
use super::values::PaymentMode;

/// Changing the encoding below would turn every repetition of an old sale into a conflict; this byte must not be
/// changed for anything less.
const ENCODING: u8 = 1;

impl SaleDraft {
    /// 32 hexadecimal digits that are the same for the same content, whatever has happened to the shop since; the
    /// invoice number is not part of it, because sales are compared under their number.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut content = Content(Vec::with_capacity(32 + 25 * self.lines.len()));
        content.byte(ENCODING);
        content.byte(mode(self.mode));
        content.byte(u8::from(self.paye));
        content.date(self.date_vente);
        // Whole lines of a known shape until the end: no two lists of lines have the same bytes.
        for line in &self.lines {
            content.number(line.article_id);
            content.number(line.quantite);
            content.price(line.prix_unitaire);
        }
        let mut digits = String::with_capacity(32);
        // Writing to a String has nothing to fail on.
        let _ = write!(digits, "{:032x}", xxh3_128(&content.0));
        digits
    }
}

/// The names of the modes in the encoding, apart from their order in the code.
const fn mode(mode: PaymentMode) -> u8 {
    match mode {
        PaymentMode::Cash => 1,
        PaymentMode::MobileMoney => 2,
        PaymentMode::Carte => 3,
    }
}

/// Bytes in which every field has a length that is known from what stands before it.
struct Content(Vec<u8>);

impl Content {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn price(&mut self, price: Option<Money>) {
        self.byte(u8::from(price.is_some()));
        if let Some(price) = price {
            self.number(price.hundredths());
        }
    }

    fn date(&mut self, date: Option<DateTime<Utc>>) {
        self.byte(u8::from(date.is_some()));
        if let Some(date) = date {
            self.number(date.timestamp());
            self.0.extend_from_slice(&date.timestamp_subsec_nanos().to_le_bytes());
        }
    }
}
