//! What the loader and an agent say to each other. Each command has one reply, of the same number;
//! records go into a file, or come in between, in frames of their own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{load::LoadSpec, resource::block_device::BlockQuery};
use tracer_analysis::recording::{
    bindings::Bindings, device::BlockDevice, host::Hello, load::LoadResult, request::Request,
    snapshot::Snapshot,
};

/// Version of the protocol; both sides must have the same.
pub const VERSION: u32 = 4;

/// Loader to agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// The reply carries the same number.
    pub number: u64,
    /// What to do.
    pub action: Action,
}

/// What an agent can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Load and attach the programs.
    Attach {
        /// Which, and how.
        request: Request,
        /// The file of the agent's own machine that the records are added to; none: they are sent.
        records: Option<PathBuf>,
    },
    /// Say which block devices and interfaces there are.
    Survey(BlockQuery),
    /// Bring out what the ring buffer holds, then the counters.
    Snapshot,
    /// Send the records that are held, if they do not go into a file.
    SendRecords,
    /// Write back and drop the page cache.
    DropCaches,
    /// Read so many bytes of a file that has nothing to do with the measurement.
    ReadUnrelated {
        /// The file.
        path: String,
        /// Bytes.
        bytes: u64,
    },
    /// Start a load; answered when it runs.
    StartLoad {
        /// A name for it.
        id: u32,
        /// The load.
        spec: LoadSpec,
    },
    /// Wait for a load's end; briefly, since the agent does nothing else meanwhile.
    WaitLoad {
        /// Its name.
        id: u32,
        /// At most so many milliseconds.
        timeout_ms: u64,
    },
    /// Stop a load.
    StopLoad {
        /// Its name.
        id: u32,
    },
    /// Detach the programs and bring out what is left.
    Detach,
    /// The session is over. Where the stream has an end, that says the same.
    End,
}

/// Agent to loader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// The first message.
    Hello(Box<Hello>),
    /// The answer to a command.
    Reply {
        /// The command's number.
        number: u64,
        /// What came of it; an error's text says what failed and what to do.
        result: Result<Box<Answer>, String>,
    },
    /// Records can no longer be written or sent; the run is over for this domain.
    Failed(String),
}

/// What a command brings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Nothing but that it was done.
    Done,
    /// What was found.
    Surveyed(Survey),
    /// What was attached.
    Attached(Bindings),
    /// The counters.
    Snapshot(Snapshot),
    /// A load's result.
    Load(LoadResult),
    /// The load still runs.
    Running,
    /// The programs are detached.
    Detached {
        /// Requests still in flight.
        in_flight: u64,
    },
}

/// Block devices and interfaces of an agent's machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Survey {
    /// The block devices asked for.
    pub devices: Vec<BlockDevice>,
    /// Every interface, by index.
    pub interfaces: Vec<(u32, String)>,
    /// How many queues its virtual cards have, the one that has most; none: no card, or not known.
    #[serde(default)]
    pub vif_queues: Option<u32>,
}
