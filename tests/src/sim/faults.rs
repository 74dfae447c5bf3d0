//! What goes wrong, and when it is over. Every kind has a counter.

use fabric::disk::Disk;
use fabric::sim::Side;
use storage_writer::store::CrashPoint;

use super::case::Part;
use super::device::Device;
use super::plan::pick;
use super::world::World;

/// A fault that lasts a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// Writes fail.
    FailingDisk,
    /// No room for new segments.
    FullDisk,
    /// Writes are slow.
    SlowDisk,
    /// Flushes fail.
    FullStore,
    /// Some reads of the store fail.
    FailingReads,
}

/// Ids are at most this far ahead of a clock that was set back, ms.
const AHEAD_MS: u64 = 10_000;

/// The part of a world that a fault is of.
const fn part_of(fault: u64) -> Part {
    match fault {
        0 | 1 => Part::Crashes,
        2 => Part::Stops,
        3 | 4 => Part::Flushes,
        5 | 6 | 8 | 9 | 28 => Part::Disk,
        7 | 23 => Part::Store,
        10..=13 => Part::Drops,
        14..=16 => Part::Clients,
        17..=20 => Part::Readers,
        21 | 22 => Part::Clock,
        24 => Part::Shards,
        25..=27 => Part::Strangers,
        _ => Part::Copies,
    }
}

impl World {
    /// Makes a fault.
    pub fn make_fault(&mut self) {
        let fault = self.env.rng.below(31);
        if self.plan.is_without(part_of(fault)) {
            return;
        }
        match fault {
            0 | 1 => {
                self.env.fault("fault_server_crash", self.lives);
                self.crash_server();
            }
            2 => self.clean_stop(),
            3 | 4 => self.crash_in_flush(),
            5 | 28 => self.window("fault_failing_disk", Window::FailingDisk, 30_000_000, 300_000_000),
            6 => self.window("fault_full_disk", Window::FullDisk, 100_000_000, 1_000_000_000),
            7 => self.window("fault_full_store", Window::FullStore, 100_000_000, 800_000_000),
            8 => self.window("fault_slow_disk", Window::SlowDisk, 300_000_000, 2_500_000_000),
            9 => {
                self.env.fault("fault_power_in_call", 0);
                let calls = self.env.rng.below(12);
                self.env.disk.lose_power_after(calls);
                if self.env.rng.one_in(2) {
                    self.crash_server();
                    // A crash uses up what was asked for: the start after it shall meet it.
                    self.env.disk.lose_power_after(calls);
                }
            }
            10..=13 => self.drop_connection(),
            14..=16 => self.crash_some_client(),
            17..=20 => self.stall_reader(),
            21 | 22 => self.step_wall(),
            23 => self.window("fault_failing_reads", Window::FailingReads, 50_000_000, 500_000_000),
            24 => self.stall_shard(),
            25..=27 => self.stranger(),
            _ => self.copy_device(),
        }
    }

    fn window(&mut self, name: &'static str, window: Window, least_ns: u64, most_ns: u64) {
        self.env.fault(name, 0);
        let until = self.env.later(least_ns, most_ns);
        self.windows.push((until, window));
        self.apply_windows();
    }

    /// Ends the windows whose time has come.
    pub fn end_windows(&mut self) {
        let now_ns = self.env.ns();
        self.windows.retain(|&(until_ns, _)| until_ns > now_ns);
        self.apply_windows();
    }

    fn apply_windows(&mut self) {
        let open = |window| self.windows.iter().any(|&(_, open)| open == window);
        let mut disk = self.plan.disk;
        if open(Window::FailingDisk) {
            disk.fail_one_in = 3;
        }
        if open(Window::SlowDisk) {
            disk.slow_one_in = 3;
        }
        if open(Window::FullDisk) {
            let files = self.env.disk.list().unwrap_or_default();
            disk.capacity_bytes = files.iter().filter_map(|file| self.env.disk.len(file).ok()).sum();
        }
        self.env.store.set_failing_reads(open(Window::FailingReads));
        self.env.store.set_full(open(Window::FullStore));
        self.env.disk.set_faults(disk);
    }

    /// The process is gone at once, and with it whatever was not durable.
    pub fn crash_server(&mut self) {
        if let Some(server) = self.server.take() {
            self.env.note("server crashes", [server.life, 0, 0]);
            self.end_life(&server);
            self.restart_ns = Some(self.env.later(1_000_000, 200_000_000));
        }
        let streams: Vec<_> = self.env.net.streams().collect();
        let now_ns = self.env.ns();
        for stream in streams {
            if self.env.rng.one_in(2) {
                self.env.net.break_stream(now_ns, stream);
            } else {
                self.env.net.close(now_ns, stream, Side::Server);
            }
        }
        self.env.disk.crash();
    }

    fn end_life(&mut self, server: &super::server::Server) {
        self.env.counts.add_registry(&server.registry);
        self.env.counts.add("lives", 1);
    }

    /// The server is told to stop; clients are told to go.
    pub fn clean_stop(&mut self) {
        if let Some(server) = &mut self.server
            && !server.is_stopping()
        {
            self.env.fault("fault_clean_stop", self.lives);
            server.stop(&mut self.env);
        }
    }

    /// It has stopped.
    pub fn stopped_server(&mut self) {
        let Some(server) = self.server.take() else { return };
        self.env.note("server stopped", [server.life, 0, 0]);
        assert_eq!(server.connections(), 0, "invariant leaks: a stopped server has connections");
        assert!(self.env.disk.next_completion_ns().is_none(), "invariant stop: it stopped with writes in flight");
        self.env.counts.add("clean_stops", 1);
        self.end_life(&server);
        self.restart_ns = Some(self.env.later(1_000_000, 200_000_000));
        // What a clean stop leaves is durable.
        self.env.disk.crash();
    }

    /// Whether power went in the middle of a blocking call since the last look.
    pub fn lost_power(&mut self) -> bool {
        let interrupted = self.env.disk.counters().interrupted;
        let before = core::mem::replace(&mut self.interrupted, interrupted);
        interrupted > before
    }

    fn crash_in_flush(&mut self) {
        let point = pick(&mut self.env.rng, &CrashPoint::ALL);
        if self.env.rng.one_in(2) {
            self.env.fault("fault_crash_in_flush", point as u64);
            self.env.store.crash_at(point);
        } else {
            self.env.fault("fault_partial_flush", point as u64);
            self.env.store.fail_at(point);
        }
    }

    fn drop_connection(&mut self) {
        let streams: Vec<_> = self.env.net.streams().collect();
        if !streams.is_empty() {
            let stream = pick(&mut self.env.rng, &streams);
            self.env.fault("fault_connection_drop", stream.0);
            self.env.net.break_stream(self.env.ns(), stream);
        }
    }

    /// A device that runs and is no copy.
    pub fn some_device(&mut self) -> Option<usize> {
        let runs = |device: &Device| device.core.is_some() && !device.is_copy();
        let running: Vec<usize> = (0..self.devices.len()).filter(|&at| runs(&self.devices[at])).collect();
        (!running.is_empty()).then(|| pick(&mut self.env.rng, &running))
    }

    fn crash_some_client(&mut self) {
        let Some(at) = self.some_device() else { return };
        if self.env.rng.one_in(2) {
            self.crash_device(at);
        } else {
            // In the middle of what its core will ask for.
            self.devices[at].crash_in = Some(self.env.rng.below(12));
        }
    }

    fn stall_reader(&mut self) {
        let streams: Vec<_> = self.streams.keys().copied().collect();
        if !streams.is_empty() {
            let stream = pick(&mut self.env.rng, &streams);
            self.env.fault("fault_stalled_reader", stream.0);
            let most_ns = pick(&mut self.env.rng, &[50_000_000, 1_000_000_000, 6_000_000_000]);
            let until_ns = self.env.later(most_ns / 2, most_ns);
            self.env.stalls.insert(stream, until_ns);
        }
    }

    /// The system lets a shard's thread wait.
    fn stall_shard(&mut self) {
        if let Some(server) = &mut self.server {
            self.env.fault("fault_stalled_shard", 0);
            server.stall(&mut self.env, (20_000_000, 1_600_000_000));
        }
    }

    fn step_wall(&mut self) {
        let most = pick(&mut self.env.rng, &[200, 5_000, 30_000, 600_000]);
        let step = self.env.rng.between(0, 2 * most) as i64 - most as i64;
        self.env.fault(if step < 0 { "fault_wall_back" } else { "fault_wall_forth" }, step.unsigned_abs());
        self.env.clock.step_wall(step);
        self.model.rules.ahead_ms = AHEAD_MS;
        self.wall.0 += step;
        self.wall.1 = self.wall.1.max(self.wall.0);
    }

    /// A second process of a device, which resends what waits in the first one's store and takes its session.
    fn copy_device(&mut self) {
        let Some(at) = self.some_device() else { return };
        self.env.fault("fault_second_session", at as u64);
        let start_ns = self.env.later(1_000, 5_000_000);
        let until_ns = self.env.later(50_000_000, 2_000_000_000);
        self.devices[at].copied = true;
        let copy = self.devices[at].copy(start_ns, until_ns);
        self.devices.push(copy);
    }

    /// A copy's process ends.
    pub fn end_copy(&mut self, at: usize) {
        self.hang_up(at);
        self.devices[at].down(u64::MAX);
    }
}
