package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	inImage = "functions"   // the binary's name, at the image's root
	nobody  = "65532:65532" // user and group that own nothing
)

// build compiles the functions of the project at root for Cloud Run, which runs linux/amd64, and puts them into an image.
func build(ctx context.Context, root string) (v1.Image, error) {
	dir, err := os.MkdirTemp("", "image-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, inImage)
	if err := compile(ctx, root, binary); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	return pack(program)
}

// compile leaves out of the binary what would make two of the same source differ: paths, the state of the checkout, ids of
// the linker, and the machine's own settings of Go.
func compile(ctx context.Context, root, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", binary, "./functions/main")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOEXPERIMENT=", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOWORK=off")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile the functions: %w", err)
	}
	return nil
}

// pack makes an image from nothing: certificates of the authorities are in the binary, and there is no shell to be had by
// whoever gets in.
func pack(program []byte) (v1.Image, error) {
	files, err := layer(program)
	if err != nil {
		return nil, err
	}
	content, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching) // compressing takes longest, and is asked for twice
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{Layer: content, History: v1.History{CreatedBy: "scripts/image", Comment: "functions/main"}})
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, configOf(image))
}

func configOf(image v1.Image) *v1.ConfigFile {
	config, err := image.ConfigFile()
	if err != nil { // it was made in memory just now
		panic(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{
		Entrypoint: []string{"/" + inImage}, User: nobody, WorkingDir: "/",
		Labels: map[string]string{
			"org.opencontainers.image.title":    "Automations Portal: Bank Connections",
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return config
}

// layer is the file system: the binary, and a folder for temporary files, as of no time.
func layer(program []byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeReg, Name: inImage, Mode: 0o555, Size: int64(len(program))},
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
	} {
		h.Format, h.ModTime = tar.FormatUSTAR, time.Unix(0, 0)
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(program); err != nil {
				return nil, err
			}
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// archive writes the image as an OCI layout in one file
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
func archive(image v1.Image, file string) error {
	dir, err := os.MkdirTemp("", "image-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := at.AppendImage(image); err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := tarFolder(out, dir); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return out.Close()
}

// tarFolder writes the files below dir, in the order of their names and as of no time.
func tarFolder(out io.Writer, dir string) error {
	w := tar.NewWriter(out)
	from := os.DirFS(dir)
	err := fs.WalkDir(from, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}
