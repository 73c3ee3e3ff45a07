package docker

import (
	"context"
	"fmt"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// ImageName names one of pgforeman's images; its build context is the folder of
// that name beside this file, embedded in the binary.
type ImageName string

// The images. All but BaseImage are started as containers; they share BaseImage's layers.
const (
	BaseImage    ImageName = "base"
	EtcdImage    ImageName = "etcd"
	PatroniImage ImageName = "patroni"
	HAProxyImage ImageName = "haproxy"
)

// LabelImage is the label, on every image that pgforeman made, that holds its ImageName.
const LabelImage = "io.pgforeman.image"

// Images returns every image, each after the one that it is built from.
func Images() []ImageName {
	return []ImageName{BaseImage, EtcdImage, HAProxyImage, PatroniImage}
}

// Tag returns the image's full reference, "pgforeman/patroni:1f0c…". The tag is the
// first 12 hexadecimal digits of a hash over all that goes into the build (the base
// image's hash included), so an image that has the tag is the one this binary means.
func (n ImageName) Tag() string {
	return "pgforeman/" + string(n) + ":" + n.hash()[:12]
}

// BuildProgress says how far the build of one image is.
type BuildProgress struct {
	Image ImageName
	Tag   string
	// Step of Steps, counted from 1; both are 0 before the first instruction runs.
	Step, Steps int
	// Message is one line for people: an instruction, or a line that it printed.
	Message string
	// Done is set once for each image, when it is in the Engine.
	Done bool
	// Cached is set together with Done when nothing had to be built.
	Cached bool
}

// BuildImages builds the images that the Engine does not have, in the order of Images.
// It pulls or makes Debian itself when that is missing too. It may be called any
// number of times, by several processes at once: they do the work twice at worst and
// end with the same images. progress may be nil; it is called from this goroutine.
func BuildImages(ctx context.Context, engine *client.Client, progress func(BuildProgress)) error {
	if progress == nil {
		progress = func(BuildProgress) {}
	}
	debian := "" // found when the first image needs it
	for _, name := range Images() {
		tag := name.Tag()
		found, err := hasImage(ctx, engine, tag)
		if err != nil {
			return err
		}
		if !found {
			if name == BaseImage {
				note := func(message string) { progress(BuildProgress{Image: name, Tag: tag, Message: message}) }
				if debian, err = ensureDebian(ctx, engine, note); err != nil {
					return err
				}
			}
			if err := buildImage(ctx, engine, name, debian, progress); err != nil {
				return err
			}
		}
		progress(BuildProgress{Image: name, Tag: tag, Message: "is ready", Done: true, Cached: found})
	}
	return nil
}

// MissingImages returns the images that BuildImages would build, in its order.
func MissingImages(ctx context.Context, engine *client.Client) ([]ImageName, error) {
	var missing []ImageName
	for _, name := range Images() {
		found, err := hasImage(ctx, engine, name.Tag())
		if err != nil {
			return nil, err
		}
		if !found {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

func hasImage(ctx context.Context, engine *client.Client, ref string) (bool, error) {
	_, err := engine.ImageInspect(ctx, ref)
	switch {
	case err == nil:
		return true, nil
	case cerrdefs.IsNotFound(err):
		return false, nil
	default:
		return false, fmt.Errorf("inspect image %q: %w", ref, err)
	}
}
