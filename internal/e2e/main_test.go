package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// What takes seconds to make is made once, by the first test that needs it.

// scratch is a directory that goes when all tests are over.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(inScratch(m))
}

func inScratch(m *testing.M) int {
	dir, err := os.MkdirTemp("", "consilium-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	scratch = dir
	return m.Run()
}

// shippedProgram is the program as it is shipped.
var shippedProgram = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(scratch, "consilium")
	return binary, build(context.Background(), binary, []string{"CGO_ENABLED=0"})
})

// build builds the program with the given flags of go build.
func build(ctx context.Context, binary string, env []string, flags ...string) error {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", binary}, flags...), "consilium/cmd/consilium")...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}

// numberedClips are sound and picture that can be counted.
var numberedClips = sync.OnceValues(func() (map[media.Source]*testmedia.Clip, error) {
	pictures, err := testmedia.NumberedPictures(context.Background(), numberedTime)
	if err != nil {
		return nil, err
	}
	beeps, err := testmedia.NumberedBeeps(context.Background(), numberedTime)
	return map[media.Source]*testmedia.Clip{media.Camera: pictures, media.Microphone: beeps}, err
})
