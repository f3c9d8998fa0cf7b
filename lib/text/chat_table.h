/* The known chat templates as data. Texts hold three marks: \1 for the text of the tokenizer's BOS
 * token, \2 for that of its EOS token (nothing where there is none), \3 for the date. */
#ifndef RAD_CHAT_TABLE_H
#define RAD_CHAT_TABLE_H

#include "text/chat_template.h"

typedef enum rad_system_place {
    RAD_SYSTEM_TURN,          /* a turn of its own, anywhere */
    RAD_SYSTEM_IN_FIRST_USER, /* in front of the first user message, inside its turn */
    RAD_SYSTEM_IN_LAST_USER,  /* in front of the last message, when that is the user's */
    RAD_SYSTEM_AT_HEAD,       /* behind `begin`, instead of the default, and nowhere else */
    RAD_SYSTEM_REFUSED        /* the original raises an error, or leaves it out unsaid */
} rad_system_place;

enum {
    /* White space at an end of a message's text is dropped: two bits for each role. */
    RAD_TRIM_LEFT = 1,
    RAD_TRIM_RIGHT = 2,
    RAD_TRIM_SYSTEM = 3,
    RAD_TRIM_USER = RAD_TRIM_SYSTEM << 2,
    RAD_TRIM_ASSISTANT = RAD_TRIM_SYSTEM << 4,
    RAD_TRIM_JOINED = 1 << 6, /* that of the user counts for system and user text together */
    /* What the original raises an error for, or lays out in a way that the table has no words for.
     */
    RAD_CHAT_ALTERNATES = 1 << 7,     /* turns alternate, the user first */
    RAD_CHAT_ENDS_WITH_USER = 1 << 8, /* the last message is the user's */
    RAD_CHAT_ANSWERS_FOLLOW = 1 << 9, /* the assistant's stand behind one of the user each */
    RAD_CHAT_ANSWERS_SAY = 1 << 10,   /* the assistant's are not empty */
    RAD_CHAT_NO_THOUGHTS = 1 << 11,   /* no </think> in the assistant's */
    RAD_CHAT_SYSTEM_NEEDED = 1 << 12, /* the default is a long text, which is not in the table */
    /* Others. */
    RAD_CHAT_ENDS_THERE = 1 << 13,     /* no `answer` behind a message of the assistant */
    RAD_CHAT_EMPTY_IS_NONE = 1 << 14,  /* an empty system message at the head */
    RAD_CHAT_DROP_THOUGHTS = 1 << 15,  /* the assistant's up to the last </think> */
    RAD_CHAT_DROP_THOUGHT = 1 << 16,   /* the assistant's up to the first one */
    RAD_CHAT_DROP_LINES = 1 << 17,     /* with them the line ends that follow */
    RAD_CHAT_DROP_ALL_LINES = 1 << 18, /* line ends at the head of the assistant's */
    RAD_CHAT_NO_CHANNELS = 1 << 19,    /* no marks of channels in the assistant's */
    RAD_CHAT_NO_TOOL_TEXTS = 1 << 20,  /* the user's are none that are read as a tool's answer */
    RAD_CHAT_DROP_STEPS = 1 << 21      /* the assistant's up to [BEGIN FINAL RESPONSE] */
};

typedef enum rad_chat_field {
    RAD_CHAT_NAME,
    RAD_CHAT_BEGIN,
    RAD_CHAT_BEFORE, /* what stands around a message: of the system, the user, the assistant */
    RAD_CHAT_AFTER,
    RAD_CHAT_ANSWER = RAD_CHAT_BEFORE + 6, /* where the answer begins */
    RAD_CHAT_DEFAULT,                      /* stands there without a system message at the head */
    RAD_CHAT_DATE                          /* what \3 is where the caller gives no date */
} rad_chat_field;

/* One literal holds all texts, so that a row has few addresses: the loader writes each. */
struct rad_chat_template {
    const char *texts; /* of the fields, each with a NUL behind it */
    const char *stops[2];
    uint32_t flags;
    rad_system_place place;
};

extern const rad_chat_template rad_chat_templates[];
extern const uint32_t rad_chat_n_templates;

/* Texts of tokenizer.chat_template by the beginning of the SHA-256 of their normal form
 * (chat_text.c). */
typedef struct rad_chat_text {
    char hash[17]; /* hexadecimal */
    char name[24]; /* of the template that renders exactly as the text does */
} rad_chat_text;

extern const rad_chat_text rad_chat_texts[];
extern const uint32_t rad_chat_n_texts;

#endif
