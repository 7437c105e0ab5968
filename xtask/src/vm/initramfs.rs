//! The first file system of a guest: a `cpio` archive of the form `newc`
//! (Documentation/driver-api/early-userspace/buffer-format.rst), which the kernel unpacks into memory.

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive that is being written.
#[derive(Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    pub fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY, &[]);
    }

    /// A file that can be executed.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, PROGRAM, content);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// A header of thirteen numbers of eight hexadecimal digits, the name with a zero byte, and the content; both are
    /// filled up to a multiple of four.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let name_bytes = name.len() as u32 + 1;
        // inode, mode, uid, gid, links, time, size, device (2), device it stands for (2), length of the name, checksum
        let numbers = [self.entries, mode, 0, 0, links, 0, content.len() as u32, 0, 0, 0, 0, name_bytes, 0];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.fill_up();
        self.bytes.extend_from_slice(content);
        self.fill_up();
    }

    fn fill_up(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Initramfs;

    #[test]
    fn an_entry_is_header_name_and_content() {
        let mut archive = Initramfs::default();
        archive.file("init", b"#!x");
        let expected = "07070100000001000081ed00000000000000000000000100000000\
                        000000030000000000000000000000000000000000000005000000";
        let bytes = archive.finish();
        assert!(bytes.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&bytes));
        // 110 bytes of header and 5 of the name make 116 with one to fill up.
        assert_eq!(&bytes[110..120], b"init\0\0#!x\0");
        assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }
}
