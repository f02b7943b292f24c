//! bpf(2), as far as it is needed.
//!
//! A loader's library is left out: what is wanted of one are two programs and three maps, while attaching in the place of
//! another program (BPF_F_REPLACE) and finding what is attached are plain calls of bpf(2) with any of them.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};

/// A kind of program, and where it is attached (include/uapi/linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// BPF_PROG_TYPE_...
    pub program: u32,
    /// BPF_CGROUP_...
    pub attach: u32,
}

/// What a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// BPF_MAP_TYPE_...
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// How many entries there may be.
    pub max_entries: u32,
    /// BPF_F_...
    pub flags: u32,
}

/// Programs of one kind that are attached to a cgroup itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Their numbers, in the order in which they run.
    pub ids: Vec<u32>,
    /// BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI, or neither.
    pub flags: u32,
}

/// The program may be attached beside others, and those of outer cgroups run too.
pub const ALLOW_MULTI: u32 = 1 << 1;
/// An inner cgroup's program may take the place of this one.
pub const ALLOW_OVERRIDE: u32 = 1 << 0;
const REPLACE: u32 = 1 << 2;

const MAP_CREATE: i32 = 0;
const MAP_LOOKUP: i32 = 1;
const MAP_UPDATE: i32 = 2;
const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_FD_BY_ID: i32 = 13;
const MAP_FD_BY_ID: i32 = 14;
const OBJ_INFO: i32 = 15;
const PROG_QUERY: i32 = 16;
const BTF_LOAD: i32 = 18;

/// BPF_MAP_TYPE_SK_STORAGE: a map whose keys are sockets. Of such a one, and no other, the kernel wants the types.
const SK_STORAGE: u32 = 24;

/// `union bpf_attr`: fields of 4 and 8 bytes at their offsets. Longer than any kernel's; the kernel takes more bytes
/// than it knows as long as they are zero.
struct Attr([u64; 20]);

impl Attr {
    fn new() -> Self {
        Self([0; 20])
    }

    fn bytes(&mut self, at: usize, value: &[u8]) -> &mut Self {
        for (offset, &byte) in (at..).zip(value) {
            if let Some(word) = self.0.get_mut(offset / 8) {
                let mut bytes = word.to_ne_bytes();
                if let Some(place) = bytes.get_mut(offset % 8) {
                    *place = byte;
                }
                *word = u64::from_ne_bytes(bytes);
            }
        }
        self
    }

    fn word(&mut self, at: usize, value: u32) -> &mut Self {
        self.bytes(at, &value.to_ne_bytes())
    }

    fn fd(&mut self, at: usize, fd: &impl AsFd) -> &mut Self {
        self.bytes(at, &fd.as_fd().as_raw_fd().to_ne_bytes())
    }

    fn pointer<T>(&mut self, at: usize, to: *const T) -> &mut Self {
        self.bytes(at, &(to as u64).to_ne_bytes())
    }

    /// At most 15 bytes, with a zero at the end.
    fn name(&mut self, at: usize, name: &str) -> &mut Self {
        self.bytes(at, name.as_bytes().get(..name.len().min(15)).unwrap_or_default())
    }

    fn read_word(&self, at: usize) -> u32 {
        let bytes = self.0.get(at / 8).copied().unwrap_or(0).to_ne_bytes();
        bytes.get(at % 8..at % 8 + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_ne_bytes)
    }

    /// Makes the call.
    ///
    /// # Safety
    ///
    /// Every pointer in it must be good for what the command does with it.
    unsafe fn call(&mut self, command: i32) -> Result<i64> {
        // SAFETY: the kernel reads and writes `size` bytes of the attribute, which is as long; the rest is the caller's.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), size_of_val(&self.0) as libc::c_uint)
        };
        if result < 0 { Err(last_error()) } else { Ok(result) }
    }

    /// Makes a call that gives a descriptor.
    ///
    /// # Safety
    ///
    /// As for [`Attr::call`]; and the command must be one that gives a descriptor.
    unsafe fn open(&mut self, command: i32) -> Result<OwnedFd> {
        // SAFETY: the caller's promise; the descriptor is new and nobody else's. All of these set FD_CLOEXEC.
        unsafe {
            let fd = self.call(command)?;
            Ok(OwnedFd::from_raw_fd(fd as RawFd))
        }
    }
}

fn last_error() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Makes a map.
pub fn create_map(name: &str, shape: &MapShape) -> Result<OwnedFd> {
    let mut attr = Attr::new();
    attr.word(0, shape.kind).word(4, shape.key_size).word(8, shape.value_size).word(12, shape.max_entries);
    attr.word(16, shape.flags).name(28, name);
    let types = if shape.kind == SK_STORAGE { Some(types(shape.value_size / 4)?) } else { None };
    if let Some(types) = &types {
        attr.fd(48, types).word(52, NUMBER).word(56, NUMBERS);
    }
    // SAFETY: there is no pointer in it.
    unsafe { attr.open(MAP_CREATE) }
}

/// The numbers of the types in [`types`].
const NUMBER: u32 = 1;
const NUMBERS: u32 = 2;

/// A number of 32 bits, and so many of them in a row, as BTF (Linux, Documentation/bpf/btf.rst).
fn types(count: u32) -> Result<OwnedFd> {
    const INT: u32 = 1 << 24;
    const ARRAY: u32 = 3 << 24;
    let names = b"\0u32\0\0\0\0";
    // Name, kind and size; an integer's bits; an array's element, index and length.
    let types = [[1, INT, 4, 32].as_slice(), &[0, ARRAY, 0, NUMBER, NUMBER, count]].concat();
    let length = 4 * types.len() as u32;
    // Magic number, version and flags; the header's length; where the types begin and how long they are; and the names.
    let mut btf = [&0xeb9fu16.to_ne_bytes()[..], &[1, 0]].concat();
    let header = [24, 0, length, length, names.len() as u32];
    btf.extend(header.iter().chain(&types).flat_map(|word| word.to_ne_bytes()));
    btf.extend(names);
    let mut attr = Attr::new();
    attr.pointer(0, btf.as_ptr()).word(16, btf.len() as u32);
    // SAFETY: the kernel reads the bytes, which are as many as it is told.
    unsafe { attr.open(BTF_LOAD) }
}

/// Puts a value into a map. Both have to be as long as the map was made for.
pub fn update(map: &impl AsFd, key: &[u8], value: &[u8]) -> Result<()> {
    let mut attr = Attr::new();
    attr.fd(0, map).pointer(8, key.as_ptr()).pointer(16, value.as_ptr());
    // SAFETY: the kernel reads as many bytes as the map was made for, which the callers of this module give.
    unsafe { attr.call(MAP_UPDATE) }.map(|_| ())
}

/// Reads a value of a map into `value`, which has to be as long as the map was made for, and for each possible
/// processor if the map has a value for each.
pub fn look_up(map: &impl AsFd, key: &[u8], value: &mut [u8]) -> Result<()> {
    let mut attr = Attr::new();
    attr.fd(0, map).pointer(8, key.as_ptr()).pointer(16, value.as_mut_ptr());
    // SAFETY: the kernel writes as many bytes as the map was made for, which the callers of this module give.
    unsafe { attr.call(MAP_LOOKUP) }.map(|_| ())
}

/// Has the kernel verify and compile a program. `log` receives what the verifier says, ending in a zero.
pub fn load(kind: Kind, name: &str, instructions: &[u8], log: Option<&mut [u8]>) -> Result<OwnedFd> {
    let licence = c"MIT OR Apache-2.0";
    let mut attr = Attr::new();
    attr.word(0, kind.program).word(4, (instructions.len() / 8) as u32).pointer(8, instructions.as_ptr());
    attr.pointer(16, licence.as_ptr()).name(48, name).word(68, kind.attach);
    if let Some(log) = log {
        attr.word(24, 1).word(28, log.len() as u32).pointer(32, log.as_mut_ptr());
    }
    // SAFETY: the kernel reads the instructions and the licence and writes into the log, all as long as it is told.
    unsafe { attr.open(PROG_LOAD) }
}

/// Attaches a program to a cgroup, beside what is there, or in the place of `old`. It stays until it is detached or
/// the cgroup goes.
pub fn attach(cgroup: &impl AsFd, program: &impl AsFd, kind: Kind, old: Option<&OwnedFd>) -> Result<()> {
    let mut attr = Attr::new();
    attr.fd(0, cgroup).fd(4, program).word(8, kind.attach);
    match old {
        None => attr.word(12, ALLOW_MULTI),
        Some(old) => attr.word(12, ALLOW_MULTI | REPLACE).fd(16, old),
    };
    // SAFETY: there is no pointer in it.
    unsafe { attr.call(PROG_ATTACH) }.map(|_| ())
}

/// Detaches a program from a cgroup.
pub fn detach(cgroup: &impl AsFd, program: &impl AsFd, kind: Kind) -> Result<()> {
    let mut attr = Attr::new();
    attr.fd(0, cgroup).fd(4, program).word(8, kind.attach);
    // SAFETY: there is no pointer in it.
    unsafe { attr.call(PROG_DETACH) }.map(|_| ())
}

/// Which programs are attached to a cgroup itself.
pub fn query(cgroup: &impl AsFd, kind: Kind) -> Result<Query> {
    // The kernel allows no more than 64 of a kind.
    let mut ids = vec![0u32; 64];
    let mut attr = Attr::new();
    attr.fd(0, cgroup).word(4, kind.attach).pointer(16, ids.as_mut_ptr()).word(24, ids.len() as u32);
    // SAFETY: the kernel writes at most as many numbers as it is told, for which there is room.
    unsafe { attr.call(PROG_QUERY)? };
    ids.truncate(attr.read_word(24) as usize);
    Ok(Query { ids, flags: attr.read_word(12) })
}

/// The program of this number.
pub fn program(id: u32) -> Result<OwnedFd> {
    let mut attr = Attr::new();
    attr.word(0, id);
    // SAFETY: there is no pointer in it.
    unsafe { attr.open(PROG_FD_BY_ID) }
}

/// The map of this number.
pub fn map(id: u32) -> Result<OwnedFd> {
    let mut attr = Attr::new();
    attr.word(0, id);
    // SAFETY: there is no pointer in it.
    unsafe { attr.open(MAP_FD_BY_ID) }
}

/// What a program is called, and the numbers of its maps.
pub fn program_info(program: &impl AsFd) -> Result<(String, Vec<u32>)> {
    let mut maps = vec![0u32; 8];
    // struct bpf_prog_info up to the name.
    let mut info = Attr::new();
    info.word(52, maps.len() as u32).pointer(56, maps.as_mut_ptr());
    // SAFETY: the kernel writes at most as many map numbers as it is told.
    unsafe { object_info(program, &mut info, 80)? };
    maps.truncate(info.read_word(52) as usize);
    Ok((name(&info, 64), maps))
}

/// What a map is called, and the size of its values.
pub fn map_info(map: &impl AsFd) -> Result<(String, u32)> {
    // struct bpf_map_info up to the name.
    let mut info = Attr::new();
    // SAFETY: there is no pointer in it.
    unsafe { object_info(map, &mut info, 40)? };
    Ok((name(&info, 24), info.read_word(12)))
}

/// # Safety
///
/// `info` has to be at least `length` bytes long, and pointers in it good for what the kernel writes.
unsafe fn object_info(object: &impl AsFd, info: &mut Attr, length: u32) -> Result<()> {
    let mut attr = Attr::new();
    attr.fd(0, object).word(4, length).pointer(8, info.0.as_mut_ptr());
    // SAFETY: the kernel writes at most `length` bytes; the rest is the caller's promise.
    unsafe { attr.call(OBJ_INFO) }.map(|_| ())
}

/// The name of 16 bytes at an offset.
fn name(info: &Attr, at: usize) -> String {
    let bytes = info.0.iter().flat_map(|word| word.to_ne_bytes()).skip(at).take(16);
    bytes.take_while(|&b| b != 0).map(char::from).collect()
}
