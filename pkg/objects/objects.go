// Package objects finds the API objects that pods name, by type and name: ConfigMaps, Secrets, claims, volumes, classes. They
// come from layers: the manifest files of this node, and the API server. Which layer serves which pod is decided here alone
// (see Store.For).
package objects

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Object is an API object that has a name.
type Object interface {
	runtime.Object
	metav1.Object
}

// Key is what makes an object the same one in two places.
type Key struct {
	Kind      string // the name of its Go type
	Namespace string // empty for what has none
	Name      string
}

func (k Key) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// KeyOf returns an object's key.
func KeyOf(o Object) Key {
	return Key{Kind: reflect.TypeOf(o).Elem().Name(), Namespace: o.GetNamespace(), Name: o.GetName()}
}

// Getter gets an object by its key. What it returns is shared and never changed. An object that does not exist is an error
// that apierrors.IsNotFound knows.
type Getter interface {
	Get(ctx context.Context, k Key) (Object, error)
}

// Get gets an object by its type and name. The namespace is empty for what has none.
func Get[T any, P interface {
	*T
	Object
}](ctx context.Context, from Getter, namespace, name string) (P, error) {
	k := Key{Kind: reflect.TypeFor[T]().Name(), Namespace: namespace, Name: name}
	o, err := from.Get(ctx, k)
	if err != nil {
		return nil, err
	}
	p, ok := o.(P)
	if !ok {
		return nil, fmt.Errorf("%s is a %T", k, o)
	}
	return p, nil
}

// Set are objects by their keys.
type Set map[Key]Object

// SetOf is the set of some objects.
func SetOf(objects ...Object) Set {
	s := make(Set, len(objects))
	for _, o := range objects {
		s[KeyOf(o)] = o
	}
	return s
}

// Get gets an object of the set. Its only error is a NotFound that says which file to add.
func (s Set) Get(_ context.Context, k Key) (Object, error) {
	if o := s[k]; o != nil {
		return o, nil
	}
	err := apierrors.NewNotFound(schema.GroupResource{Resource: k.Kind}, k.Name)
	err.ErrStatus.Message = fmt.Sprintf("%s %q not found: add a file with kind: %s, name: %s", k.Kind, k.Name, k.Kind, k.Name)
	if k.Namespace != "" {
		err.ErrStatus.Message += ", namespace: " + k.Namespace
	}
	err.ErrStatus.Message += " to the manifest directory"
	return nil, err
}

// Over gets what is in the upper layer, else what is in the lower one, which may be nil.
func Over(upper, lower Getter) Getter {
	if lower == nil {
		return upper
	}
	return layers{upper, lower}
}

type layers struct{ upper, lower Getter }

func (l layers) Get(ctx context.Context, k Key) (Object, error) {
	o, err := l.upper.Get(ctx, k)
	if !apierrors.IsNotFound(err) {
		return o, err
	}
	o, lower := l.lower.Get(ctx, k)
	if apierrors.IsForbidden(lower) { // no pod of the API server names it: that of a file does, and can be given a file
		return nil, err
	}
	return o, lower
}
