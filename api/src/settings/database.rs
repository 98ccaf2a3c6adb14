//! Where the log stands: in the data folder, or in a database.

use super::sources::Found;
use super::{Settings, TABLE, WrongSetting, parse};

/// Takes the database's URL out of its file, when one is named.
pub(super) fn read_file(settings: &mut Settings) -> Result<(), WrongSetting> {
    let Some(file) = &settings.database_url_file else { return Ok(()) };
    if settings.database_url.is_some() {
        let both = "DAYBOOK_DATABASE_URL and DAYBOOK_DATABASE_URL_FILE are both set: keep one of them";
        return Err(WrongSetting::rule(both));
    }
    let source = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        WrongSetting::rule(format!("the file {source} of DAYBOOK_DATABASE_URL_FILE cannot be read: {error}"))
    })?;
    let url = parse::database_url(&text).map_err(|allowed| {
        match TABLE.iter().find(|setting| setting.key == "database_url") {
            Some(setting) => WrongSetting::value(setting, &Found { text, source }, allowed),
            None => WrongSetting::rule(allowed),
        }
    })?;
    settings.database_url = Some(url);
    Ok(())
}

/// A data folder that somebody has chosen although a database takes its place. It is most often left over, in the
/// environment of an image for instance, so it stops nothing.
pub(super) fn unused_folder(settings: &Settings) -> Option<String> {
    let chosen = settings.describe().iter().find(|row| row.key == "data" && row.source != "default");
    chosen
        .filter(|_| settings.database_url.is_some())
        .map(|row| format!("the data folder of {} is not used: DAYBOOK_DATABASE_URL takes its place", row.source))
}
