//! Where a path of a container leads when the image has a link on the way to it (`/var/run` is one in many): what the
//! engine makes for a mount or a working directory is listed as where it leads.

use bollard::Docker;
use bollard::query_parameters::ContainerArchiveInfoOptionsBuilder;

use crate::paths::Expected;

/// The bit that says of a mode, as Go writes it, that it is a link's.
const LINK: u32 = 1 << 27;

/// The same, also as where its paths lead.
pub(crate) async fn follow(docker: &Docker, id: &str, expected: &Expected) -> Expected {
    let mut followed = expected.clone();
    followed.directory = lead(docker, id, &expected.directory).await;
    for mount in &expected.mounts {
        let leads = lead(docker, id, mount).await;
        if leads != *mount {
            followed.mounts.push(leads);
        }
    }
    followed
}

/// Folder by folder: the engine follows every link but the last by itself, and says where that one leads.
async fn lead(docker: &Docker, id: &str, path: &str) -> String {
    let mut place = String::new();
    let mut there = true;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let next = format!("{place}/{part}");
        let options = ContainerArchiveInfoOptionsBuilder::default().path(&next).build();
        let found = if there {
            docker.get_container_archive_info(id, Some(options)).await.ok()
        } else {
            None
        };
        // What is not there leads nowhere else, nor does anything below it.
        there = found.is_some();
        place = match found {
            Some(found) if found.file_mode & LINK != 0 && found.link_target.starts_with('/') => {
                found.link_target.trim_end_matches('/').to_owned()
            }
            _ => next,
        };
    }
    if place.is_empty() { "/".to_owned() } else { place }
}
