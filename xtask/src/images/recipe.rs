//! What goes into an image, and whether it changed since the image was built.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Image;
use super::buildah::Buildah;
use crate::{cache, progress};

/// One image of the project.
#[derive(Debug)]
pub(super) struct Recipe {
    image: &'static str,
    programs: Vec<&'static str>,
    dockerfile: String,
    options: Vec<String>,
}

impl Recipe {
    /// A target of the Dockerfile at the top of the checkout.
    pub(super) fn from_dockerfile(
        image: &'static str,
        programs: &[&'static str],
        base: &str,
    ) -> Result<Self> {
        let file = crate::checkout().join("Dockerfile");
        let dockerfile =
            fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        // The programs are finished, so the stage that makes them for docker users needs no more
        // than a shell.
        let options = [
            "--target",
            image,
            "--build-arg",
            &format!("BASE={base}"),
            "--build-arg",
            &format!("RUST={base}"),
        ];
        let options = options.map(str::to_owned).to_vec();
        Ok(Self {
            image,
            programs: programs.to_vec(),
            dockerfile,
            options,
        })
    }

    /// An image that holds one static program.
    pub(super) fn of_one_program(image: &'static str, program: &'static str) -> Self {
        let dockerfile = format!(
            "FROM scratch\nCOPY bin/{program} /{program}\nENV PATH=/\nENTRYPOINT [\"/{program}\"]\n"
        );
        Self {
            image,
            programs: vec![program],
            dockerfile,
            options: Vec::new(),
        }
    }

    /// Builds the image from programs in `built`, unless the archive in `directory` was made of the
    /// same.
    pub(super) fn build(
        &self,
        buildah: &Buildah,
        built: &Path,
        directory: &Path,
        tag: &str,
    ) -> Result<Image> {
        let name = full_name(self.image, tag);
        let archive = directory.join(format!("{}.tar", self.image));
        let image = Image {
            short: self.image,
            name,
            archive,
        };
        let inputs = format!("{:016x}", self.fingerprint(built, &image.name)?);
        let record = directory.join(format!("{}.inputs", self.image));
        if image.archive.exists()
            && fs::read_to_string(&record).is_ok_and(|recorded| recorded == inputs)
        {
            return Ok(image);
        }
        progress::step(&format!("packing image {}", image.name), || {
            let context = directory.join(format!("{}.context", self.image));
            self.fill(&context, built)?;
            buildah.build(
                &image.name,
                &self.dockerfile,
                &context,
                &self.options,
                &image.archive,
            )?;
            cache::remove(&context)?;
            fs::write(&record, inputs).with_context(|| format!("write {}", record.display()))
        })?;
        Ok(image)
    }

    fn fill(&self, context: &Path, built: &Path) -> Result<()> {
        cache::remove(context)?;
        let bin = context.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
        for program in &self.programs {
            let from = built.join(program);
            fs::copy(&from, bin.join(program))
                .with_context(|| format!("copy {}", from.display()))?;
        }
        Ok(())
    }

    fn fingerprint(&self, built: &Path, name: &str) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        for text in [name, &self.dockerfile]
            .into_iter()
            .chain(self.options.iter().map(String::as_str))
        {
            hasher.write(text.as_bytes());
            hasher.write_u8(0xff);
        }
        for program in &self.programs {
            hash_file(&mut hasher, &built.join(program))?;
        }
        Ok(hasher.finish())
    }
}

/// The name that containerd knows an image by: without a registry in front, Kubernetes adds
/// docker.io.
fn full_name(image: &str, tag: &str) -> String {
    format!("docker.io/fairlead/{image}:{tag}")
}

fn hash_file(hasher: &mut DefaultHasher, path: &PathBuf) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file
            .read(&mut buffer)
            .with_context(|| format!("read {}", path.display()))?;
        if count == 0 {
            return Ok(());
        }
        hasher.write(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_follows_program_name_and_dockerfile() {
        let directory =
            std::env::temp_dir().join(format!("fairlead-recipe-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let write = |content: &str| fs::write(directory.join("app"), content).unwrap();
        let recipe = Recipe::of_one_program("testapp", "app");
        write("one");
        let first = recipe.fingerprint(&directory, "testapp:1").unwrap();
        assert_eq!(recipe.fingerprint(&directory, "testapp:1").unwrap(), first);
        assert_ne!(recipe.fingerprint(&directory, "testapp:2").unwrap(), first);
        write("two");
        assert_ne!(recipe.fingerprint(&directory, "testapp:1").unwrap(), first);
        write("one");
        let other = Recipe {
            dockerfile: "FROM scratch".to_owned(),
            ..recipe
        };
        assert_ne!(other.fingerprint(&directory, "testapp:1").unwrap(), first);
        cache::remove(&directory).unwrap();
    }

    #[test]
    fn name_is_the_one_kubernetes_completes() {
        assert_eq!(
            full_name("proxy", "0.1.0"),
            "docker.io/fairlead/proxy:0.1.0"
        );
    }
}
