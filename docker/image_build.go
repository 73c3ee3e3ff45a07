package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// buildImage builds one image with the Engine's classic builder (BuildKit needs a
// session that Engines without buildx do not offer) and gives it its tag.
func buildImage(ctx context.Context, engine *client.Client, name ImageName, debian string, progress func(BuildProgress)) error {
	archive, err := name.archive()
	if err != nil {
		return err
	}
	base := BaseImage.Tag()
	args := map[string]*string{"DEBIAN": &debian}
	if name != BaseImage {
		args = map[string]*string{"BASE": &base}
	}
	for arg, version := range name.versions() {
		args[arg] = &version
	}
	response, err := engine.ImageBuild(ctx, archive, build.ImageBuildOptions{
		BuildArgs:   args,
		Labels:      map[string]string{LabelImage: string(name)},
		Remove:      true,
		ForceRemove: true,
	})
	if err != nil {
		return fmt.Errorf("build image %q: %w", name, err)
	}
	defer response.Body.Close()
	at := BuildProgress{Image: name, Tag: name.Tag()}
	id, err := readStream(response.Body, func(line string) {
		at.Message = line
		if step := stepLine.FindStringSubmatch(line); step != nil {
			at.Step, _ = strconv.Atoi(step[1])
			at.Steps, _ = strconv.Atoi(step[2])
			at.Message = step[3]
		}
		if !strings.HasPrefix(line, "--->") { // the id of a layer
			progress(at)
		}
	})
	if err != nil {
		return fmt.Errorf("build image %q: %w", name, err)
	}
	return adoptImage(ctx, engine, id, name.Tag())
}

var stepLine = regexp.MustCompile(`^Step (\d+)/(\d+) : (.*)$`)

// adoptImage gives a new image its name, unless another build was faster: then the
// new one is removed, which would lie around without a name otherwise.
func adoptImage(ctx context.Context, engine *client.Client, id, ref string) error {
	existing, err := engine.ImageInspect(ctx, ref)
	if err == nil && existing.ID != id {
		// What still uses it (a cache, a container) may keep it.
		_, _ = engine.ImageRemove(ctx, id, image.RemoveOptions{PruneChildren: true})
		return nil
	}
	if err := engine.ImageTag(ctx, id, ref); err != nil {
		return fmt.Errorf("tag image %q: %w", ref, err)
	}
	return nil
}

// streamTail is how many lines of a build's output an error repeats.
const streamTail = 20

// readStream reads what the Engine writes while it builds, pulls or imports, hands
// on each line of text and returns the id of the image that came out. An error of
// the build is returned together with the last lines before it.
func readStream(stream io.Reader, line func(string)) (id string, err error) {
	var tail []string
	decoder := json.NewDecoder(stream)
	for {
		var message struct {
			Stream string          `json:"stream"`
			Status string          `json:"status"`
			Error  string          `json:"error"`
			Aux    json.RawMessage `json:"aux"`
		}
		switch err := decoder.Decode(&message); {
		case errors.Is(err, io.EOF):
			return id, nil
		case err != nil:
			return "", fmt.Errorf("read the Engine's answer: %w", err)
		}
		if message.Error != "" {
			return "", fmt.Errorf("%s, after:\n%s", message.Error, strings.Join(tail, "\n"))
		}
		var aux struct{ ID string }
		if json.Unmarshal(message.Aux, &aux) == nil && aux.ID != "" {
			id = aux.ID
		}
		if strings.HasPrefix(message.Status, "sha256:") { // an import's last message
			id = message.Status
		}
		for text := range strings.SplitSeq(message.Stream+message.Status, "\n") {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			tail = append(tail, text)
			if len(tail) > streamTail {
				tail = tail[1:]
			}
			line(text)
		}
	}
}
