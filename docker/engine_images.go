package docker

import (
	"context"
	"fmt"
)

// BuildImages makes the images that this Engine lacks; see the function of the same name. It may take minutes, bounded
// by the context alone.
func (e *Engine) BuildImages(ctx context.Context, progress func(BuildProgress)) error {
	if err := e.negotiate(ctx); err != nil {
		return fmt.Errorf("build images: %w", err)
	}
	if err := BuildImages(ctx, e.cli, progress); err != nil {
		return fmt.Errorf("build images: %w", explain(ctx, err))
	}
	return nil
}

// MissingImages lists the images that this Engine lacks, in build order.
func (e *Engine) MissingImages(ctx context.Context) ([]ImageName, error) {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return nil, fmt.Errorf("look for images: %w", err)
	}
	missing, err := MissingImages(ctx, e.cli)
	if err != nil {
		return nil, fmt.Errorf("look for images: %w", explain(ctx, err))
	}
	return missing, nil
}
