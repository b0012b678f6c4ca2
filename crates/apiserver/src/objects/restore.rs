//! Making everything as it was in a backup.

use super::{Objects, unwritten};
use crate::status::Status;
use crate::store::{Backup, Restored};

impl Objects {
    /// Restores a backup in one step, and serves the definitions that are in it.
    pub(crate) async fn restore(&self, backup: Backup) -> Result<Restored, Status> {
        let restored = self.store.restore(backup).await;
        let restored = restored.map_err(|error| unwritten(&error))?;
        for name in self.registry.definitions() {
            self.sync_definition(&name);
        }
        self.load_definitions().await;
        Ok(restored)
    }
}
