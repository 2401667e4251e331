# Manual pages of section 3 are made of the public headers.
find_program(AWK NAMES awk mawk gawk)
if(NOT AWK)
  vitqc_missing("awk" mawk)
endif()

function(vitqc_header_man header name package)
  set(script ${PROJECT_SOURCE_DIR}/tools/header-man.awk)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${name}.3)
  add_custom_command(OUTPUT ${output}
    COMMAND ${AWK} -v name=${name} -v package=${package} -v version=${PROJECT_VERSION}
            -f ${script} ${CMAKE_CURRENT_SOURCE_DIR}/${header} > ${output}.tmp
    COMMAND ${CMAKE_COMMAND} -E rename ${output}.tmp ${output}
    DEPENDS ${header} ${script} VERBATIM)
  add_custom_target(man_${name} ALL DEPENDS ${output})
  install(FILES ${output} DESTINATION ${CMAKE_INSTALL_MANDIR}/man3
          COMPONENT development)
endfunction()
