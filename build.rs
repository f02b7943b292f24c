//! How the library is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in [
        // No NEEDED entry: what the library calls is in every process already, under any libc. Start files would
        // bring constructors and references of their own.
        "-nostdlib",
        "-nostartfiles",
        "-Wl,-soname,libkashim.so",
        "-Wl,-z,relro,-z,now,-z,noexecstack",
        // A reference that the loader would have to patch in the code is a mistake here.
        "-Wl,-z,text",
        // The precompiled core refers to it in a debug build. Nothing here catches a panic, and unwinders take null
        // for that.
        "-Wl,--defsym=rust_eh_personality=0",
        // GNU ld comes with every gcc; the one that rustc brings along on some systems makes twice the mappings.
        "-fuse-ld=bfd",
        // One mapping for headers, constants and code instead of three: each costs time when a process starts.
        "-Wl,-z,noseparate-code",
        "-Wl,--hash-style=gnu",
    ] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
}
