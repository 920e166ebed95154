// Command image puts the functions into the one container image that is deployed, without a container engine: the binary,
// and nothing else, in a layer of its own. The same source and the same Go make the same image, byte for byte.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/google"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const usage = `image builds the image of the functions, and prints its name or its digest. It needs neither Docker nor a base image.

  scripts/image -push REGION-docker.pkg.dev/PROJECT/automations-portal/functions
                            sends it to a registry, as whom gcloud or the environment is signed in
  scripts/image -tar FILE   writes it as an OCI archive, for "docker load", "podman load" or "skopeo copy oci-archive:FILE"

`

func main() {
	push := flag.String("push", "", "repository to send it to; what is there already is not sent again")
	tar := flag.String("tar", "", "file to write it to")
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	said, err := run(ctx, *push, *tar)
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Println(said)
}

// run builds the image and says what names it: with the repository where it was sent to one, else its digest alone.
func run(ctx context.Context, push, tar string) (string, error) {
	root, err := projectRoot()
	if err != nil {
		return "", err
	}
	image, err := build(ctx, root)
	if err != nil {
		return "", err
	}
	if tar != "" {
		if err := archive(image, tar); err != nil {
			return "", err
		}
	}
	digest, err := image.Digest()
	if err != nil || push == "" {
		return digest.String(), err
	}
	return send(ctx, image, digest, push)
}

// send pushes the image and returns its name by digest. Layers that the repository has are not sent.
func send(ctx context.Context, image v1.Image, digest v1.Hash, repository string) (string, error) {
	repo, err := name.NewRepository(repository)
	if err != nil {
		return "", fmt.Errorf("the repository to push to: %w", err)
	}
	to := repo.Digest(digest.String())
	keys := authn.NewMultiKeychain(authn.DefaultKeychain, google.Keychain)
	if err := remote.Write(to, image, remote.WithContext(ctx), remote.WithAuthFromKeychain(keys)); err != nil {
		return "", fmt.Errorf("push: %w", err)
	}
	return to.String(), nil
}

// projectRoot is the nearest folder, from the working one up, that holds the functions; scripts/image builds this program
// inside the project and starts it in the caller's folder, so the program's own place is asked too.
func projectRoot() (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	working, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for _, from := range []string{filepath.Dir(program), working} {
		for at := from; ; at = filepath.Dir(at) {
			if _, err := os.Stat(filepath.Join(at, "functions", "main", "main.go")); err == nil {
				return at, nil
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return "", errors.New("call it inside the project")
}
