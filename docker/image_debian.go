package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// pullPatience is how long a registry may be silent before it counts as unreachable.
const pullPatience = 20 * time.Second

// ensureDebian returns the reference of a Debian image to build on: one that the
// Engine has, else one pulled from the registry, else one made here from Debian's
// mirror, for machines that reach a mirror and no registry.
func ensureDebian(ctx context.Context, engine *client.Client, note func(string)) (string, error) {
	for _, ref := range []string{debianImage, debianMadeHere} {
		found, err := hasImage(ctx, engine, ref)
		if err != nil || found {
			return ref, err
		}
	}
	note("pull " + debianImage)
	pullErr := pullImage(ctx, engine, debianImage)
	if pullErr == nil {
		return debianImage, nil
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("pull image %q: %w", debianImage, ctx.Err())
	}
	note("no registry answers, make Debian with mmdebstrap")
	if err := makeDebian(ctx, engine, note); err != nil {
		return "", fmt.Errorf("no Debian image to build on: pull %q: %w; make it with mmdebstrap: %w; "+
			"run `docker pull %[1]s` or `docker load` it where the Engine is, then try again", debianImage, pullErr, err)
	}
	return debianMadeHere, nil
}

// pullImage pulls, and gives up when nothing is heard for pullPatience; a slow pull
// that moves is left alone.
func pullImage(ctx context.Context, engine *client.Client, ref string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(pullPatience, func() {
		cancel(fmt.Errorf("the registry said nothing for %s", pullPatience))
	})
	defer silence.Stop()
	body, err := engine.ImagePull(ctx, ref, image.PullOptions{})
	if err == nil {
		defer body.Close()
		_, err = readStream(body, func(string) { silence.Reset(pullPatience) })
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// makeDebian makes debianMadeHere from a mirror, the one that this machine's own apt
// uses when it is a Debian.
func makeDebian(ctx context.Context, engine *client.Client, note func(string)) error {
	if err := ensureMmdebstrap(ctx, note); err != nil {
		return err
	}
	file, err := os.CreateTemp("", "pgforeman-debian-*.tar")
	if err != nil {
		return fmt.Errorf("make a temporary file: %w", err)
	}
	defer os.Remove(file.Name())
	defer file.Close()

	args := []string{
		"--quiet", "--variant=minbase", "--include=ca-certificates", "--format=tar",
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
		debianSuite, "-",
	}
	var complaints strings.Builder
	command := exec.CommandContext(ctx, "mmdebstrap", append(args, debianSources(ctx)...)...)
	command.Stdout, command.Stderr = file, &complaints
	if err := command.Run(); err != nil {
		return fmt.Errorf("mmdebstrap: %w: %s", err, lastLines(complaints.String(), 5))
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the temporary file: %w", err)
	}
	return importDebian(ctx, engine, file)
}

func importDebian(ctx context.Context, engine *client.Client, archive io.Reader) error {
	body, err := engine.ImageImport(ctx, image.ImportSource{Source: archive, SourceName: "-"}, "",
		image.ImportOptions{Changes: []string{"LABEL " + LabelImage + "=debian"}})
	if err != nil {
		return fmt.Errorf("import image %q: %w", debianMadeHere, err)
	}
	defer body.Close()
	id, err := readStream(body, func(string) {})
	if err != nil {
		return fmt.Errorf("import image %q: %w", debianMadeHere, err)
	}
	return adoptImage(ctx, engine, id, debianMadeHere)
}

// ensureMmdebstrap installs mmdebstrap where that is possible without asking.
func ensureMmdebstrap(ctx context.Context, note func(string)) error {
	if _, err := exec.LookPath("mmdebstrap"); err == nil {
		return nil
	}
	if _, err := os.Stat("/etc/debian_version"); err != nil || os.Geteuid() != 0 {
		return errors.New("mmdebstrap is not installed (on Debian: apt-get install mmdebstrap)")
	}
	note("install mmdebstrap")
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", "mmdebstrap"}} {
		command := exec.CommandContext(ctx, "apt-get", args...)
		command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, lastLines(string(output), 5))
		}
	}
	return nil
}

// debianSources returns apt source lines for the suite on the mirrors that this
// machine's apt uses, and nothing (mmdebstrap knows the public mirrors) when it has none.
func debianSources(ctx context.Context) []string {
	output, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return nil
	}
	return sourceLines(string(output))
}

// sourceLines turns "label|address" lines into apt source lines.
func sourceLines(targets string) []string {
	mirrors := map[string]string{}
	for line := range strings.Lines(targets) {
		label, address, found := strings.Cut(strings.TrimSpace(line), "|")
		_, seen := mirrors[label]
		if found && !seen && (strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://")) {
			mirrors[label] = address
		}
	}
	mirror, security := mirrors["Debian"], mirrors["Debian-Security"]
	if mirror == "" || security == "" {
		return nil
	}
	return []string{
		"deb " + mirror + " " + debianSuite + " main",
		"deb " + mirror + " " + debianSuite + "-updates main",
		"deb " + security + " " + debianSuite + "-security main",
	}
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
