//! The boot script of a node, read as iPXE reads it.

/// What a script says: the URL's path of kernel and initramfs, and the words of the command line.
pub(super) struct Script {
    pub(super) kernel: String,
    pub(super) initramfs: String,
    pub(super) arguments: Vec<String>,
}

impl Script {
    pub(super) fn read(text: &str) -> Self {
        let line = |word: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(word));
            found
                .unwrap_or_else(|| panic!("no {word}in\n{text}"))
                .trim_end_matches(" || goto failed")
                .to_owned()
        };
        let path = |url: &str| {
            let path = url.strip_prefix("http://10.77.0.1:8080");
            path.unwrap_or_else(|| panic!("another server: {url}"))
                .to_owned()
        };
        let kernel = line("kernel ");
        let (url, arguments) = kernel.split_once(' ').expect("arguments");
        Self {
            kernel: path(url),
            initramfs: path(&line("initrd ")),
            arguments: arguments.split(' ').map(str::to_owned).collect(),
        }
    }

    pub(super) fn argument(&self, name: &str) -> &str {
        let mut values = self
            .arguments
            .iter()
            .filter_map(|word| word.strip_prefix(name));
        values
            .next()
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.arguments))
    }
}
