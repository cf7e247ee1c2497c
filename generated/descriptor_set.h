/* Made by proto/generate.sh: the serialized FileDescriptorSet of proto/. */
#pragma once
extern const unsigned char descriptor_set[];
extern const unsigned long descriptor_set_size;
