/*
 * Schemas: a message or record is written once, as a list of fields, and from the list come its
 * struct, its encoder, its decoder and its printer.
 *
 *     #define POINT(F) F(u64, x) F(u64, y)           a message: F(type, name) for each field
 *     #define SHAPES(M) M(POINT, point, 1)           a family: M(KIND, arm, tag) for each message
 *
 *     SCHEMA_STRUCT(point, POINT)                    struct point { uint64_t x; uint64_t y; };
 *     SCHEMA_CODEC(point, POINT)                     point_put, point_get, point_print (static)
 *
 * Field types: u8 u16 u32 u64 request_id bytes. On the wire integers are little-endian and bytes
 * carry their length in 32 bits. A decoded `bytes` points into what was decoded.
 *
 * Tags are numbers on wires and disks: never reused, never changed. A family's decoder is a switch
 * over tags, so that two messages with one tag do not compile.
 */
#ifndef ROLLCALL_BASE_SCHEMA_H
#define ROLLCALL_BASE_SCHEMA_H

#include "raft/base/bytes.h"

#define SCHEMA_TYPE_u8            uint8_t
#define SCHEMA_TYPE_u16           uint16_t
#define SCHEMA_TYPE_u32           uint32_t
#define SCHEMA_TYPE_u64           uint64_t
#define SCHEMA_TYPE_request_id    struct request_id
#define SCHEMA_TYPE_bytes         struct bytes

#define SCHEMA_MEMBER(type, name) SCHEMA_TYPE_##type name;

#define SCHEMA_STRUCT(tag, FIELDS) \
    struct tag {                   \
        FIELDS(SCHEMA_MEMBER)      \
    };

#define SCHEMA_PUT(type, name)   put_##type(out, value->name);
#define SCHEMA_GET(type, name)   value->name = get_##type(in);
#define SCHEMA_PRINT(type, name) print_##type(out, #name, value->name);

#define SCHEMA_CODEC(tag, FIELDS)                                                                \
    static void tag##_put(struct writer *out, const struct tag *value)                           \
    {                                                                                            \
        FIELDS(SCHEMA_PUT)                                                                       \
    }                                                                                            \
    static void tag##_get(struct reader *in, struct tag *value){FIELDS(                          \
        SCHEMA_GET)} UNUSED static void tag##_print(struct writer *out, const struct tag *value) \
    {                                                                                            \
        FIELDS(SCHEMA_PRINT)                                                                     \
    }

/*
 * A family: one enum, one tagged union. Its list is M(KIND, struct tag, arm, tag number), and the
 * fields of KIND are KIND_FIELDS. Use, in the header:
 *
 *     SHAPES(SCHEMA_FAMILY_STRUCT)
 *     enum shape_kind { SHAPES(SCHEMA_FAMILY_ENUM) };
 *     struct shape { enum shape_kind kind; union { SHAPES(SCHEMA_FAMILY_ARM) }; };
 *
 * and in the source, after SHAPES(SCHEMA_FAMILY_CODEC), switches made of the CASE macros below.
 */
#define SCHEMA_FAMILY_STRUCT(KIND, type, arm, number) SCHEMA_STRUCT(type, KIND##_FIELDS)
#define SCHEMA_FAMILY_ENUM(KIND, type, arm, number)   KIND = number,
#define SCHEMA_FAMILY_ARM(KIND, type, arm, number)    struct type arm;
#define SCHEMA_FAMILY_CODEC(KIND, type, arm, number)  SCHEMA_CODEC(type, KIND##_FIELDS)

#define SCHEMA_CASE_PUT(KIND, type, arm, number) \
    case KIND:                                   \
        type##_put(out, &value->arm);            \
        return;

/* Over the tag's number, which may be anything: that switch has a default. */
#define SCHEMA_CASE_GET(KIND, type, arm, number) \
    case number:                                 \
        value->kind = KIND;                      \
        type##_get(in, &value->arm);             \
        return;

#define SCHEMA_CASE_PRINT(KIND, type, arm, number) \
    case KIND:                                     \
        put_text(out, #KIND);                      \
        type##_print(out, &value->arm);            \
        return;

/* The printers write " name=value"; bytes are printed as text, what is not ASCII as \xNN. */
void print_u8(struct writer *out, const char *name, uint8_t value);
void print_u16(struct writer *out, const char *name, uint16_t value);
void print_u32(struct writer *out, const char *name, uint32_t value);
void print_u64(struct writer *out, const char *name, uint64_t value);
void print_request_id(struct writer *out, const char *name, struct request_id value);
void print_bytes(struct writer *out, const char *name, struct bytes value);

#endif
