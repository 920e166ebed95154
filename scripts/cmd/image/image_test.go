package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// ours is the image of this checkout, built once: compiling takes its time.
func ours(t *testing.T) v1.Image {
	t.Helper()
	image, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

var built = sync.OnceValues(func() (v1.Image, error) {
	root, err := projectRoot()
	if err != nil {
		return nil, err
	}
	return build(context.Background(), root)
})

func TestTheSameSourceMakesTheSameImageWhereverItLies(t *testing.T) {
	root, err := projectRoot()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "another", "checkout")
	for _, part := range []string{"functions", "shared"} {
		if err := os.CopyFS(filepath.Join(elsewhere, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, part))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(elsewhere, part), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := build(t.Context(), elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	var sums []string
	for _, image := range []v1.Image{ours(t), again} {
		file := filepath.Join(t.TempDir(), "image.tar")
		if err := archive(image, file); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.1f MB", digest, float64(len(text))/1e6)
		sums = append(sums, fmt.Sprintf("%s %x", digest, sha256.Sum256(text)))
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds of one source differ:\n%s\n%s", sums[0], sums[1])
	}
}

func TestAnImageOfOtherContentIsAnotherImage(t *testing.T) {
	digests := map[string]bool{}
	for _, program := range []string{"one", "another"} {
		digest, err := packed(t, program).Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[digest.String()] = true
	}
	if len(digests) != 2 {
		t.Error("the image does not depend on the program")
	}
}

func packed(t *testing.T, program string) v1.Image {
	t.Helper()
	image, err := pack([]byte(program))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestWhatIsPushedIsWhatWasBuilt(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	image := packed(t, "program")
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	said, err := send(t.Context(), image, digest, strings.TrimPrefix(server.URL, "http://")+"/p/functions")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(said)
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(contents(t, image), contents(t, got)); diff != "" {
		t.Errorf("what was pushed (-want +got):\n%s", diff)
	}
}

// contents are the files of an image, by name.
func contents(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	flat := mutate.Extract(image)
	defer flat.Close()
	files := map[string]string{}
	for r := tar.NewReader(flat); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}

func TestTheImageHoldsTheFunctionsAloneAndTheyServe(t *testing.T) {
	image := ours(t)
	files := contents(t, image)
	if diff := cmp.Diff([]string{inImage, "tmp"}, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	config := configOf(image)
	if diff := cmp.Diff([]string{"/" + inImage}, config.Config.Entrypoint); diff != "" || config.Config.User != nobody {
		t.Errorf("it runs %v as %q", config.Config.Entrypoint, config.Config.User)
	}
	binary := filepath.Join(t.TempDir(), inImage)
	if err := os.WriteFile(binary, []byte(files[inImage]), 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(info.Deps, func(d *debug.Module) bool { return d.Path == "golang.org/x/crypto/x509roots/fallback" }) {
		t.Error("no certificates are linked: in an image without any, no call to the outside would succeed")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the binary is for linux/amd64: it is not started here")
	}
	refusesBadConfiguration(t, binary)
	serves(t, binary)
}

func refusesBadConfiguration(t *testing.T, binary string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = []string{"FUNCTION_TARGET=webhook", "GOOGLE_CLOUD_PROJECT=demo"}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !bytes.Contains(out, []byte("PLAID_SECRET is needed")) {
		t.Errorf("without its secrets it ends with %v:\n%s", err, out)
	}
}

// serves starts the binary as Cloud Run does, and asks it what the check from outside asks.
func serves(t *testing.T, binary string) {
	t.Helper()
	port := freePort(t)
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = []string{
		"FUNCTION_TARGET=webhook", "PORT=" + port, "GOOGLE_CLOUD_PROJECT=demo", "PLAID_CLIENT_ID=id", "PLAID_SECRET=unused", "PLAID_ENV=sandbox",
		"PLUGGY_CLIENT_ID=id", "PLUGGY_CLIENT_SECRET=unused", "PLUGGY_WEBHOOK_SECRET=unused-unused-unused-unused-unused",
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	answer, status := ask(t, "http://127.0.0.1:"+port+"/webhook/is/there", ended)
	if status != http.StatusNotFound || !strings.Contains(answer, "There is nothing here") {
		t.Errorf("got %d: %s", status, answer)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("asked to end, it ended with %v:\n%s", err, said.String())
		}
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		t.Error("asked to end, it goes on")
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// ask asks until the process answers or ends.
func ask(t *testing.T, url string, ended chan error) (answer string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil && len(ended) == 0 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			time.Sleep(20 * time.Millisecond) // polls another process
			continue
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body), response.StatusCode
	}
	return "no answer", 0
}
