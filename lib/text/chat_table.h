/* The known chat templates as data. Texts hold three marks: \1 for the text of the tokenizer's BOS
 * token, \2 for that of its EOS token (nothing where there is none), \3 for the date. */
#ifndef RAD_CHAT_TABLE_H
#define RAD_CHAT_TABLE_H

#include "text/chat_template.h"

/* What stands around the text of one message. */
typedef struct rad_turn {
    const char *before;
    const char *after;
    bool trim; /* white space at both ends of the message's text is dropped */
} rad_turn;

typedef enum rad_system_place {
    RAD_SYSTEM_TURN,          /* a turn of its own, anywhere */
    RAD_SYSTEM_IN_FIRST_USER, /* in front of the first user message, inside its turn */
    RAD_SYSTEM_IN_LAST_USER,  /* in front of the last message, when that is the user's */
    RAD_SYSTEM_AT_HEAD,       /* instead of default_system, behind `begin` */
    RAD_SYSTEM_REFUSED        /* the original raises an error, or leaves it out unsaid */
} rad_system_place;

struct rad_chat_template {
    const char *name;
    const char *begin;
    rad_turn system;
    rad_turn user;
    rad_turn assistant;
    const char *answer; /* where the answer begins */
    rad_system_place place;
    const char *default_system;      /* used without a system message; NULL: none */
    const char *date;                /* what \3 stands for when the caller gives no date */
    bool alternate;                  /* refuses turns that do not alternate, user first */
    bool trim_joined;                /* user.trim counts for system and user text together */
    bool no_answer_behind_assistant; /* the original ends there */
    const char *stops[4];            /* the last is NULL */
};

extern const rad_chat_template rad_chat_templates[];
extern const uint32_t rad_chat_n_templates;

/* Texts of tokenizer.chat_template (without one line end at their end) by their SHA-256. */
typedef struct rad_chat_text {
    const char *sha256; /* 64 hexadecimal digits */
    const char *name;   /* of the template that renders exactly as the text does */
} rad_chat_text;

extern const rad_chat_text rad_chat_texts[];
extern const uint32_t rad_chat_n_texts;

#endif
