package firestore

import (
	"fmt"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bkper/automations-portal/shared/store"
	"github.com/bkper/automations-portal/shared/store/internal/txn"
)

// The fields of a document, and Firestore's name for its own name.
const (
	fieldBody    = "body"
	fieldIndex   = "index"
	fieldDue     = "due"
	fieldExpires = "expires"
	fieldName    = "__name__"
)

// name is the full name of a document.
func (s *Store) name(kind, id string) string {
	return s.database + "/documents/" + s.options.Prefix + kind + "/" + id
}

// body is the text of a document.
func body(d *pb.Document) (string, error) {
	text, ok := d.Fields[fieldBody].GetValueType().(*pb.Value_StringValue)
	if !ok {
		return "", fmt.Errorf("%s has no text in its field %q", d.Name, fieldBody)
	}
	return text.StringValue, nil
}

// write puts a write into Firestore's words.
func (s *Store) write(w txn.Write) *pb.Write {
	name := s.name(w.Kind, w.ID)
	if w.Body == nil {
		return &pb.Write{Operation: &pb.Write_Delete{Delete: name}}
	}
	fields := map[string]*pb.Value{fieldBody: text(string(w.Body))}
	if len(w.Terms) > 0 {
		fields[fieldIndex] = index(w.Terms)
	}
	if !w.Due.IsZero() {
		fields[fieldDue] = timestamp(w.Due)
	}
	if !w.Expires.IsZero() {
		fields[fieldExpires] = timestamp(w.Expires)
	}
	return &pb.Write{Operation: &pb.Write_Update{Update: &pb.Document{Name: name, Fields: fields}}}
}

// verification fails a commit unless a document is as it was read, and changes nothing: an update of none of its fields, or
// the deletion of what is missing. Firestore keeps the time of an update that did not change the document
// (https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#writeresult), so that those who verify the same
// document do not disturb one another.
func verification(name string, version *timestamppb.Timestamp) *pb.Write {
	w := &pb.Write{CurrentDocument: unchanged(version)}
	if version == nil {
		w.Operation = &pb.Write_Delete{Delete: name}
		return w
	}
	w.Operation = &pb.Write_Update{Update: &pb.Document{Name: name}}
	w.UpdateMask = &pb.DocumentMask{}
	return w
}

// unchanged is the condition that a document's last update is the one that was read; nil where it was missing. A document
// that was deleted and made again has another time.
func unchanged(version *timestamppb.Timestamp) *pb.Precondition {
	if version == nil {
		return &pb.Precondition{ConditionType: &pb.Precondition_Exists{Exists: false}}
	}
	return &pb.Precondition{ConditionType: &pb.Precondition_UpdateTime{UpdateTime: version}}
}

func index(terms []txn.Term) *pb.Value {
	values := map[string][]*pb.Value{}
	for _, term := range terms {
		values[term.Field] = append(values[term.Field], text(term.Value))
	}
	fields := map[string]*pb.Value{}
	for field := range values {
		fields[field] = array(values[field])
	}
	return &pb.Value{ValueType: &pb.Value_MapValue{MapValue: &pb.MapValue{Fields: fields}}}
}

// query puts a checked query into Firestore's words.
func (s *Store) query(q store.Query) *pb.StructuredQuery {
	query := &pb.StructuredQuery{
		Select: &pb.StructuredQuery_Projection{Fields: []*pb.StructuredQuery_FieldReference{reference(fieldBody)}},
		From:   s.collection(q.Kind),
		Where:  where(q),
		Limit:  wrapperspb.Int32(int32(q.Limit)),
	}
	if !q.Due.IsZero() {
		query.OrderBy = append(query.OrderBy, ascending(fieldDue))
	}
	query.OrderBy = append(query.OrderBy, ascending(fieldName))
	if q.After != "" {
		after := &pb.Value{ValueType: &pb.Value_ReferenceValue{ReferenceValue: s.name(q.Kind, q.After)}}
		query.StartAt = &pb.Cursor{Values: []*pb.Value{after}}
	}
	return query
}

// collection selects the documents of a kind.
func (s *Store) collection(kind string) []*pb.StructuredQuery_CollectionSelector {
	return []*pb.StructuredQuery_CollectionSelector{{CollectionId: s.options.Prefix + kind}}
}

// where is the conjunction of a query's conditions; nil where it has none.
func where(q store.Query) *pb.StructuredQuery_Filter {
	var filters []*pb.StructuredQuery_Filter
	if q.Field != "" {
		values := make([]*pb.Value, len(q.Any))
		for i, value := range q.Any {
			values[i] = text(value)
		}
		filters = append(filters, condition(fieldIndex+"."+q.Field, pb.StructuredQuery_FieldFilter_ARRAY_CONTAINS_ANY, array(values)))
	}
	if !q.Due.IsZero() {
		filters = append(filters, condition(fieldDue, pb.StructuredQuery_FieldFilter_LESS_THAN_OR_EQUAL, timestamp(q.Due)))
	}
	switch len(filters) {
	case 0:
		return nil
	case 1:
		return filters[0]
	}
	return &pb.StructuredQuery_Filter{FilterType: &pb.StructuredQuery_Filter_CompositeFilter{
		CompositeFilter: &pb.StructuredQuery_CompositeFilter{Op: pb.StructuredQuery_CompositeFilter_AND, Filters: filters},
	}}
}

func condition(field string, op pb.StructuredQuery_FieldFilter_Operator, value *pb.Value) *pb.StructuredQuery_Filter {
	return &pb.StructuredQuery_Filter{FilterType: &pb.StructuredQuery_Filter_FieldFilter{
		FieldFilter: &pb.StructuredQuery_FieldFilter{Field: reference(field), Op: op, Value: value},
	}}
}

func ascending(field string) *pb.StructuredQuery_Order {
	return &pb.StructuredQuery_Order{Field: reference(field), Direction: pb.StructuredQuery_ASCENDING}
}

func reference(field string) *pb.StructuredQuery_FieldReference {
	return &pb.StructuredQuery_FieldReference{FieldPath: field}
}

func text(s string) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_StringValue{StringValue: s}}
}

func array(values []*pb.Value) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_ArrayValue{ArrayValue: &pb.ArrayValue{Values: values}}}
}

func timestamp(t time.Time) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: timestamppb.New(t)}}
}
